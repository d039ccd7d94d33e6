// Integration tests of the shop. They reach its services by their compose names; environment variables override these, to
// run the tests against a stack elsewhere.
import { test } from "node:test";
import assert from "node:assert/strict";
import net from "node:net";

const backend = process.env.BACKEND_URL ?? "http://backend:3001";
const frontend = process.env.FRONTEND_URL ?? "http://frontend";
const mail = process.env.MAIL_URL ?? "http://mail:1080";
const redis = new URL(process.env.REDIS_URL ?? "redis://redis:6379");

const within = () => ({ signal: AbortSignal.timeout(10_000) });
const get = (url) => fetch(url, within());
const order = (body) => fetch(`${backend}/api/orders`, { method: "POST", body: JSON.stringify(body), ...within() });

test("the backend is healthy on a migrated database", async () => {
  const response = await get(`${backend}/health`);
  assert.equal(response.status, 200);
  assert.deepEqual(await response.json(), { status: "ok", shop: "Conductor Shop", schema: "2" });
});

test("redis answers by its name", async () => {
  const reply = await new Promise((resolve, reject) => {
    const socket = net.connect(Number(redis.port), redis.hostname, () => socket.write("PING\r\n"));
    socket.setTimeout(10_000, () => socket.destroy(new Error("no answer in 10 s")));
    socket.on("error", reject);
    socket.on("data", (data) => { resolve(data.toString()); socket.destroy(); });
  });
  assert.equal(reply, "+PONG\r\n");
});

test("the frontend serves its page", async () => {
  const response = await get(`${frontend}/`);
  assert.equal(response.status, 200);
  assert.match(await response.text(), /<h1>Conductor Shop<\/h1>/);
});

test("the frontend passes the API on to the backend", async () => {
  const { products } = await (await get(`${frontend}/api/products`)).json();
  assert.deepEqual(products.map((p) => p.id), ["baton", "score", "stand"]);
});

test("an order is kept and confirmed by mail", async () => {
  const email = `customer-${process.pid}-${Date.now()}@example.com`;
  const made = await order({ email, product: "baton" });
  const kept = await made.json();
  assert.equal(made.status, 201, JSON.stringify(kept));
  assert.deepEqual(await (await get(`${backend}/api/orders/${kept.id}`)).json(), { id: kept.id, email, product: "baton", cents: 1200 });

  const caught = await caughtFor(email);
  assert.equal(caught.subject, `Conductor Shop: order ${kept.id}`);
  assert.match(caught.text, /Thank you for ordering: Baton\./);
  console.log(`order ${kept.id} was confirmed to ${email}`);
});

test("a wrong order is refused and not mailed", async () => {
  const email = `nobody-${process.pid}-${Date.now()}@example.com`;
  const response = await order({ email, product: "piano" });
  assert.equal(response.status, 400);
  assert.deepEqual(await response.json(), { error: "there is no product piano" });
  assert.equal((await mailsFor(email)).length, 0);
});

async function mailsFor(address) {
  const mails = await (await get(`${mail}/email`)).json();
  return mails.filter((m) => m.to.some((to) => to.address === address));
}

// caughtFor polls, since the catcher takes a moment to show what it accepted.
async function caughtFor(address) {
  for (const deadline = Date.now() + 10_000; Date.now() < deadline; await new Promise((r) => setTimeout(r, 100))) {
    const [found] = await mailsFor(address);
    if (found) return found;
  }
  return assert.fail(`no mail for ${address} in 10 s`);
}
