/**
 * How long a message and its answer take: `bun round_trip.ts answer PORT` on one side; `bun round_trip.ts ask ADDRESS PORT SECONDS` on the other
 * prints the median in microseconds. The sizes are those of a replicated write of 4 KiB and of its acknowledgement.
 */
import { connections, dial, LONG, read, SHORT, write } from "./blocking_socket.ts";
import { median } from "./report.ts";

function answer(port: number): void {
  for (const fd of connections(port)) while (read(fd, SHORT)) write(fd, LONG);
}

function ask(address: string, port: number, seconds: number): number {
  const fd = dial(address, port);
  const times: number[] = [];
  for (const end = performance.now() + seconds * 1000; performance.now() < end; ) {
    const asked = performance.now();
    write(fd, SHORT);
    if (!read(fd, LONG)) throw new Error("the connection was closed");
    times.push((performance.now() - asked) * 1000);
  }
  return median(times);
}

const [side, first = "", ...more] = process.argv.slice(2);
if (side === "answer") answer(Number(first));
else console.log(ask(first, Number(more[0]), Number(more[1])));
