// The name, the message and the line of the failing test are random, so that no report can contain them by chance. The run
// prints them, so that they can be compared with the report.
import { randomBytes, randomInt } from "node:crypto";
import { readFileSync } from "node:fs";
import { spawnSync } from "node:child_process";

const word = () => randomBytes(4).toString("hex");
const place = randomInt(0, 16);
const first = readFileSync("test/shelf.test.mjs", "utf8").split("\n").findIndex((line) => line.includes("// apples")) + 1;
const madeUp = { name: `shelf ${word()} is stocked`, message: `expected ${randomInt(100, 999)} of ${word()}, found none`, line: first + place };
console.log("made up: " + JSON.stringify(madeUp));
const tests = spawnSync(process.execPath, [
  "--test", "--test-reporter=spec", "--test-reporter-destination=stdout",
  "--test-reporter=junit", "--test-reporter-destination=reports/junit.xml", "test/shelf.test.mjs",
], { stdio: "inherit", env: { ...process.env, MADE_UP: JSON.stringify({ ...madeUp, place }) } });
process.exit(tests.status ?? 1);
