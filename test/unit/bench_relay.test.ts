/** The bench's relay: bytes arrive unchanged and in order, never early, also while the delay changes and the reader is slow; an end is passed on. */
import { connect, createServer, type Socket } from "node:net";
import t from "tap";

const relay = new URL("../bench/relay.ts", import.meta.url).pathname;
const CHUNK = 64 << 10;

/** A port that was free a moment ago. */
function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer();
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

/** Starts the relay and a server behind it that gives each connection to `serve`. */
async function through(serve: (socket: Socket) => void) {
  const server = createServer(serve);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port: target } = server.address() as { port: number };
  const [control, port] = [await freePort(), await freePort()];
  const child = Bun.spawn([process.execPath, relay, `${control}`, `${port}=127.0.0.1:${target}`], {
    stdout: "pipe",
  });
  await child.stdout.getReader().read();
  return {
    open: () => connect(port, "127.0.0.1"),
    setDelay: (microseconds: number) =>
      new Promise<void>((resolve) => {
        const socket = connect(control, "127.0.0.1", () => socket.write(`${microseconds}\n`));
        socket.on("data", () => undefined).on("close", () => resolve());
      }),
    close: async () => {
      child.kill();
      await child.exited;
      server.close();
    },
  };
}

t.test("what comes back is what was sent", async (t) => {
  const { open, setDelay, close } = await through((socket) => {
    socket.pipe(socket);
  });
  t.teardown(close);
  const sent = Buffer.alloc(24 << 20);
  for (let i = 0; i < sent.length; i += 4) sent.writeUInt32LE((i * 2_654_435_761) >>> 0, i);
  const socket = open();
  const came: Buffer[] = [];
  let size = 0;
  const all = new Promise<void>((resolve, reject) => {
    socket.on("error", reject);
    socket.on("data", (bytes: Buffer) => {
      came.push(bytes);
      size += bytes.length;
      if (size >= sent.length) resolve();
      // A reader that stops now and then, so that the relay's buffers fill.
      if (came.length % 40 === 0) {
        socket.pause();
        setTimeout(() => socket.resume(), 5);
      }
    });
  });
  for (let at = 0; at < sent.length; at += CHUNK) {
    socket.write(sent.subarray(at, at + CHUNK));
    if (at % (CHUNK * 64) === 0) await setDelay((at / CHUNK) % 128 === 0 ? 3000 : 0);
  }
  await all;
  t.ok(Buffer.concat(came).equals(sent));
  socket.destroy();
});

t.test("no byte is early, and an end is passed on after what came before", async (t) => {
  const { open, setDelay, close } = await through((socket) => {
    socket.on("data", (bytes) => socket.end(bytes));
  });
  t.teardown(close);
  await setDelay(40_000);
  const socket = open();
  await new Promise((resolve) => socket.once("connect", resolve));
  const asked = performance.now();
  socket.write("there and back");
  const answer: Buffer[] = [];
  let answered = 0;
  socket.on("data", (bytes: Buffer) => {
    answered = performance.now();
    answer.push(bytes);
  });
  await new Promise((resolve) => socket.once("close", resolve));
  t.equal(Buffer.concat(answer).toString(), "there and back");
  t.ok(answered - asked >= 40, "a round trip has taken at least the delay");
});
