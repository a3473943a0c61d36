/**
 * Does somebody accept connections there? The kernel accepts for a process that hangs, as long as its backlog has room: whether it answers, `http`
 * or `custom` tells.
 */
import { connect } from "node:net";
import { down, type Probe, up } from "../probe.ts";

/** `address` is `host:port` or `[IPv6]:port`. */
export function tcpProbe(address: string): Probe {
  const colon = address.lastIndexOf(":");
  const host = address.slice(0, colon).replace(/^\[(.*)\]$/, "$1");
  const port = Number(address.slice(colon + 1));
  return {
    look: (signal) =>
      new Promise((resolve) => {
        const socket = connect({ host, port });
        const end = (finding: ReturnType<typeof up>): void => {
          socket.destroy();
          resolve(finding);
        };
        socket.once("connect", () => end(up()));
        socket.once("error", (error) => end(down(`${address}: ${error.message}`)));
        // A socket that is destroyed says nothing, and the look would never end.
        signal.addEventListener("abort", () => end(down(`${address} does not answer`)), { once: true });
      }),
  };
}
