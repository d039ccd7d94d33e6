// Just enough of the Redis protocol (RESP) for the shop: one command per connection, and only simple replies.
import net from "node:net";

export function redis(...args) {
  const { hostname, port } = new URL(process.env.REDIS_URL ?? "redis://localhost:6379");
  const bulk = (arg) => `$${Buffer.byteLength(String(arg))}\r\n${arg}\r\n`;
  return new Promise((resolve, reject) => {
    let received = Buffer.alloc(0);
    const socket = net.connect(Number(port || 6379), hostname, () =>
      socket.write(`*${args.length}\r\n${args.map(bulk).join("")}`));
    socket.setTimeout(3000, () => socket.destroy(new Error("redis does not answer")));
    socket.on("error", reject);
    socket.on("close", () => reject(new Error("redis closed the connection")));
    socket.on("data", (chunk) => {
      received = Buffer.concat([received, chunk]);
      const reply = parse(received);
      if (!reply) return; // The reply is not complete yet.
      reply.error ? reject(new Error(reply.error)) : resolve(reply.value);
      socket.destroy();
    });
  });
}

// parse returns {value} or {error}, or undefined while the reply is not complete.
function parse(buffer) {
  const end = buffer.indexOf("\r\n");
  if (end < 0) return undefined;
  const line = buffer.toString("utf8", 1, end);
  switch (String.fromCharCode(buffer[0])) {
    case "+": return { value: line };
    case ":": return { value: Number(line) };
    case "-": return { error: line };
    case "$": {
      const length = Number(line);
      if (length < 0) return { value: null };
      const start = end + 2;
      return buffer.length >= start + length + 2 ? { value: buffer.toString("utf8", start, start + length) } : undefined;
    }
    default: return { error: "not a simple reply: " + line };
  }
}
