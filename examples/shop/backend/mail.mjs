// Just enough of SMTP to hand one plain mail to a catcher.
import net from "node:net";
import readline from "node:readline";

export async function send({ to, subject, text }) {
  const { hostname, port } = new URL(process.env.SMTP_URL ?? "smtp://localhost:1025");
  const from = process.env.MAIL_FROM ?? "shop@localhost";
  const socket = net.connect(Number(port || 25), hostname);
  socket.setTimeout(5000, () => socket.destroy(new Error("the mail server does not answer")));
  const failed = new Promise((_, reject) => socket.on("error", reject));
  failed.catch(() => {}); // It is awaited below; an error after that is ignored.
  const lines = readline.createInterface({ input: socket })[Symbol.asyncIterator]();

  // say sends one command and waits for the reply. In a reply of several lines, all but the last have a dash after the code.
  const say = async (command, expected) => {
    if (command) socket.write(command + "\r\n");
    for (;;) {
      const { value: line, done } = await Promise.race([lines.next(), failed]);
      if (done) throw new Error("the mail server closed the connection");
      if (!line.startsWith(expected)) throw new Error(`the mail server said: ${line}`);
      if (line[3] !== "-") return;
    }
  };
  const body = [`From: ${from}`, `To: ${to}`, `Subject: ${subject}`, "", text].join("\r\n");
  try {
    await say("", "220");
    await say("HELO shop", "250");
    await say(`MAIL FROM:<${from}>`, "250");
    await say(`RCPT TO:<${to}>`, "250");
    await say("DATA", "354");
    await say(body.replace(/^\./gm, "..") + "\r\n.", "250");
    await say("QUIT", "221");
  } finally {
    socket.destroy();
  }
}
