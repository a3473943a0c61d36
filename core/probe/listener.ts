/**
 * Answers load balancers on one port: does this node serve that module? Plain HTTP, one question a connection, nothing else.
 *
 * It runs in the daemon's loop, so a stranger may cost it neither time nor memory: a connection is short, holds two kilobytes at most, and there are
 * few; when there are too many the oldest goes, so that no crowd of silent ones keeps the load balancer out.
 */
import { MAX_REQUEST_BYTES, readQuestion } from "./question.ts";

/** Tells, in its own time, whether this node serves the module; a name that nobody knows is not served. */
export type Ask = (name: string, answer: (serves: boolean) => void) => void;

/** How long a connection may take from its first packet to its end, ms. */
const DEADLINE_MS = 2000;
const SWEEP_MS = 250;
const MAX_CONNECTIONS = 128;
const REASONS = {
  200: "OK",
  400: "Bad Request",
  404: "Not Found",
  405: "Method Not Allowed",
  431: "Request Header Fields Too Large",
  503: "Service Unavailable",
} as const;

interface Connection {
  since: number;
  text: string;
  asked: boolean;
}
type Socket = Bun.Socket<Connection>;

/** Listens on every address of the machine, IPv6 too where it has it. Throws when the port is taken. */
export function listenForProbes(port: number, ask: Ask): { close(): void } {
  /** In the order in which they came. */
  const open = new Set<Socket>();
  const socket: Bun.SocketHandler<Connection> = {
    open(socket) {
      socket.data = { since: performance.now(), text: "", asked: false };
      const [oldest] = open;
      if (oldest !== undefined && open.size >= MAX_CONNECTIONS) {
        open.delete(oldest);
        oldest.terminate();
      }
      open.add(socket);
    },
    data: (socket, bytes) => hear(socket, bytes, ask),
    close: (socket) => void open.delete(socket),
    error: (socket) => void socket.terminate(),
  };
  const listener = listenEverywhere(port, socket);
  const sweep = setInterval(() => {
    const now = performance.now();
    for (const socket of open) {
      if (now - socket.data.since < DEADLINE_MS) break;
      socket.terminate();
    }
  }, SWEEP_MS);
  return {
    close: () => {
      clearInterval(sweep);
      listener.stop(true);
    },
  };
}

function listenEverywhere(port: number, socket: Bun.SocketHandler<Connection>): { stop(now: boolean): void } {
  try {
    return Bun.listen({ hostname: "::", port, socket });
  } catch (error) {
    // A kernel without IPv6; a port that is taken is taken there as well.
    if ((error as NodeJS.ErrnoException).code === "EADDRINUSE") throw error;
    return Bun.listen({ hostname: "0.0.0.0", port, socket });
  }
}

function hear(socket: Socket, bytes: Uint8Array, ask: Ask): void {
  const { data } = socket;
  if (data.asked) return;
  data.text += Buffer.from(bytes.subarray(0, MAX_REQUEST_BYTES)).toString("latin1");
  const question = readQuestion(data.text);
  if (question.kind === "unfinished") return;
  data.asked = true;
  data.text = "";
  if (question.kind === "refused") answer(socket, question.status);
  else ask(question.name, (serves) => answer(socket, serves ? 200 : 503));
}

function answer(socket: Socket, status: keyof typeof REASONS): void {
  const lines = [
    `HTTP/1.1 ${status} ${REASONS[status]}`,
    ...(status === 405 ? ["Allow: GET, HEAD"] : []),
    "Cache-Control: no-store",
    "Content-Length: 0",
    "Connection: close",
  ];
  socket.end(`${lines.join("\r\n")}\r\n\r\n`);
}
