import { test } from "node:test";

const { name, message, place } = JSON.parse(process.env.MADE_UP);

// Each place of the shelf has a line of its own, so that the failing line is random, too.
const shelf = [
  () => { throw new Error(message); }, // apples
  () => { throw new Error(message); }, // bread
  () => { throw new Error(message); }, // butter
  () => { throw new Error(message); }, // carrots
  () => { throw new Error(message); }, // cheese
  () => { throw new Error(message); }, // eggs
  () => { throw new Error(message); }, // flour
  () => { throw new Error(message); }, // honey
  () => { throw new Error(message); }, // lentils
  () => { throw new Error(message); }, // milk
  () => { throw new Error(message); }, // oats
  () => { throw new Error(message); }, // onions
  () => { throw new Error(message); }, // pears
  () => { throw new Error(message); }, // rice
  () => { throw new Error(message); }, // salt
  () => { throw new Error(message); }, // tea
];

test("the shelf stands", () => {});
test(name, () => shelf[place]());
test("the shelf has a label", { skip: "labels are not printed yet" }, () => {});
