/**
 * A client that wants to be answered: `bun gap_client.ts ADDRESS PORT [EVERY_MS]`.
 *
 * A new attempt every 20 ms, whatever became of those before, so that what is measured is the service and not the patience of
 * one connection. For each answer that came late, a line on stdout: {"gap": ms, "from": who answered before, "to": who answers}.
 */
const [address = "", port = "", every = "20"] = process.argv.slice(2);
/** A wait that is told of, ms. */
const TOLD_MS = 60;
/** An attempt that was not answered by then is given up. */
const ATTEMPT_MS = 1000;

let last = performance.now();
let who = "";

/** The application says the name of its node. */
function answered(node: string): void {
  const now = performance.now();
  if (node !== who || now - last > TOLD_MS)
    process.stdout.write(`${JSON.stringify({ gap: now - last, from: who, to: node })}\n`);
  last = now;
  who = node;
}

function attempt(): void {
  void Bun.connect({
    hostname: address,
    port: Number(port),
    socket: {
      open: (socket) => {
        setTimeout(() => socket.terminate(), ATTEMPT_MS);
      },
      data: (socket, data) => {
        answered(data.toString().trim());
        socket.terminate();
      },
    },
  }).catch(() => undefined); // Refused or unreachable: the next attempt is on its way.
}

setInterval(attempt, Number(every));

export {};
