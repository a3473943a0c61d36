/**
 * A machine that is no member, attacking one: `bad_input_stranger.ts WHAT ADDRESS PORT [FILE|SECONDS]`, prints what
 * became of it as JSON.
 */
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";

const [what, address, port, file] = process.argv.slice(2) as [string, string, string, string | undefined];

/** Noise of every size, then real datagrams again and again: whole, cut off, with one bit changed. */
async function datagrams(): Promise<object> {
  const real = JSON.parse(readFileSync(file!, "utf8")) as string[];
  const socket = await Bun.udpSocket({});
  let sent = 0;
  const send = async (bytes: Uint8Array): Promise<void> => {
    if (socket.send(bytes, Number(port), address)) sent++;
    if (sent % 50 === 0) await Bun.sleep(1);
  };
  for (let i = 0; i < 3000; i++) await send(randomBytes((i * 37) % 1472));
  for (let round = 0; round < 20; round++)
    for (const text of real) {
      const bytes = Buffer.from(text, "base64");
      await send(bytes);
      await send(bytes.subarray(0, (round * 53) % bytes.length));
      const changed = Buffer.from(bytes);
      // Every third byte of the header in turn, which a step through the whole may miss; else anywhere.
      const bit = round % 2 === 0 ? round * 12 : (round * 1013) % (bytes.length * 8);
      changed[bit >> 3]! ^= 1 << (bit & 7);
      await send(changed);
    }
  socket.close();
  return { sent };
}

/** Crowds of connections: silent, slow, and shouting; new ones take the places of those that are closed. */
async function connections(): Promise<object> {
  const until = Date.now() + Number(file ?? 4) * 1000;
  let opened = 0;
  let heard = 0;
  const noise = randomBytes(256 << 10);
  const open = (kind: number): void => {
    if (Date.now() > until) return;
    opened++;
    const socket: Socket = connect({ host: address, port: Number(port) });
    let slowly: ReturnType<typeof setInterval> | undefined;
    socket.on("connect", () => {
      if (kind % 3 === 1) socket.write(noise);
      if (kind % 3 === 2) slowly = setInterval(() => socket.write("x"), 50);
    });
    socket.on("data", (bytes) => {
      heard += bytes.length;
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      clearInterval(slowly);
      setTimeout(() => open(kind), 20);
    });
  };
  for (let i = 0; i < 60; i++) open(i);
  await Bun.sleep(until - Date.now() + 200);
  return { opened, heard };
}

/** One request over TLS without a certificate; the first line of the answer. */
function request(text: string): Promise<string> {
  return new Promise((resolve) => {
    let answer = "";
    const socket = connectTls({ host: address, port: Number(port), rejectUnauthorized: false }, () =>
      socket.write(text),
    );
    const end = (): void => {
      socket.destroy();
      resolve(answer.split("\r\n")[0]!);
    };
    socket.on("data", (bytes) => {
      answer += String(bytes);
    });
    socket.on("error", end);
    socket.on("close", end);
    socket.setTimeout(3000, end);
  });
}

/** What the API says to a caller without a certificate. */
async function requests(): Promise<object> {
  const ask = (method: string, path: string, body = ""): Promise<string> =>
    request(
      `${method} ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
  const answers: Record<string, string> = {
    status: await ask("GET", "/api/status"),
    stop: await ask("POST", "/api/modules/db/command", '{"command":"stop"}'),
    load: await ask("POST", "/api/modules/db/activate", `{"commit":"${"0".repeat(40)}"}`),
    shutdown: await ask("POST", "/api/shutdown"),
    join: await ask("POST", "/join", '{"secret":"x","node":"n2","request":"y"}'),
    bigJoin: await ask("POST", "/join", "x".repeat(200_000)),
    longPath: await ask("GET", `/${"x".repeat(100_000)}`),
    noise: await request(randomBytes(100_000).toString("latin1")),
  };
  return answers;
}

const attacks: Record<string, () => Promise<object>> = { datagrams, connections, requests };
console.log(JSON.stringify(await attacks[what]!()));
process.exit(0);
