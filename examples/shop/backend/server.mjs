// The shop's API. Products and orders are in Redis; every order is confirmed by mail.
import http from "node:http";
import { redis } from "./redis.mjs";
import { send } from "./mail.mjs";

const schema = "2";
const port = Number(process.env.PORT ?? 3001);
const shop = process.env.SHOP_NAME ?? "Shop";

class BadRequest extends Error {}

async function health() {
  const version = await redis("GET", "schema:version");
  if (version !== schema) throw new Error(`schema is ${version}, want ${schema}`);
  return { status: "ok", shop, schema: version };
}

async function products() {
  return { shop, products: JSON.parse((await redis("GET", "products")) ?? "[]") };
}

async function order(request) {
  const { email, product } = await json(request);
  if (!/^[^\s<>@]+@[^\s<>@]+$/.test(email ?? "")) throw new BadRequest("email is not an address");
  const item = (await products()).products.find((p) => p.id === product);
  if (!item) throw new BadRequest(`there is no product ${product}`);
  const id = await redis("INCR", "orders:last");
  const order = { id, email, product: item.id, cents: item.cents };
  await redis("SET", `orders:${id}`, JSON.stringify(order));
  await send({ to: email, subject: `${shop}: order ${id}`, text: `Thank you for ordering: ${item.name}.` });
  return order;
}

async function find(id) {
  const order = await redis("GET", `orders:${id}`);
  return order && JSON.parse(order);
}

async function json(request) {
  let body = "";
  for await (const chunk of request.setEncoding("utf8")) {
    body += chunk;
    if (body.length > 10_000) throw new BadRequest("the body is too long");
  }
  try {
    return JSON.parse(body) ?? {};
  } catch {
    throw new BadRequest("the body is not JSON");
  }
}

async function answer(request) {
  const [, id] = request.url.match(/^\/api\/orders\/(\d+)$/) ?? [];
  switch (`${request.method} ${id ? "/api/orders/ID" : request.url}`) {
    case "GET /health": return [200, await health()];
    case "GET /api/products": return [200, await products()];
    case "POST /api/orders": return [201, await order(request)];
    case "GET /api/orders/ID": {
      const found = await find(id);
      return found ? [200, found] : [404, { error: `there is no order ${id}` }];
    }
    default: return [404, { error: "not found" }];
  }
}

const server = http.createServer(async (request, response) => {
  let status, body;
  try {
    [status, body] = await answer(request);
  } catch (error) {
    [status, body] = [error instanceof BadRequest ? 400 : 503, { error: error.message }];
  }
  if (request.url !== "/health" || status !== 200) console.log(request.method, request.url, status);
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
});

server.listen(port, () => console.log(`${shop} listens on ${port}`));
process.on("SIGTERM", () => server.close(() => process.exit(0)));
