// Migrates the data in Redis to the schema that server.mjs expects, and exits. It can be run again at any time.
import { redis } from "./redis.mjs";

const products = [
  { id: "baton", name: "Baton", cents: 1200 },
  { id: "score", name: "Score", cents: 2450 },
  { id: "stand", name: "Music stand", cents: 3999 },
];

await redis("SET", "products", JSON.stringify(products));
await redis("SET", "schema:version", 2);
console.log(`schema is at version ${await redis("GET", "schema:version")}, ${products.length} products`);
