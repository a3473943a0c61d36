/**
 * The judge of the witness campaign: pure, of what a client, the servers, the wire and both disks have to say about one schedule.
 *
 * All times are ms of one clock (CLOCK_BOOTTIME), which the machines share. Nothing here believes what the product tells of itself, but for one thing: when a
 * node is made primary (again), by its `transition` hook, which comes before it takes the address. Who is made primary while another still is, is found all the same.
 */

/** Something that was acknowledged as durable: asked for at `begin`, known at `end`. `name` is of the process that did it: `NODE.SOMETHING`. */
export interface Act {
  begin: number;
  end: number;
  name: string;
  /** Its line in the journal. */
  record: string;
}

/** From when somebody certainly had what only one may have, and until when at least; `from` is after `to` where that was but a moment between them. */
export interface Span {
  name: string;
  from: number;
  to: number;
}

/** A frame from the virtual address, or one that claims it. */
export interface Frame {
  at: number;
  node: string;
}

/** A node was made primary. */
export interface Reign {
  at: number;
  node: string;
}

/** What is judged. */
export interface Evidence {
  /** Of the servers: each write and fsync. */
  writes: readonly Act[];
  /** Of the client: from sending to the acknowledgement. */
  answers: readonly Act[];
  reigns: readonly Reign[];
  frames: readonly Frame[];
  /** The journal, by node. */
  journals: Readonly<Record<string, string>>;
}

/** More of the same says nothing new. */
const MOST = 5;

/** What is wrong; nothing: every guarantee held. */
export function judge({ writes, answers, reigns, frames, journals }: Evidence): string[] {
  const texts = new Set(Object.values(journals));
  return [
    ...overlaps(spansOf(writes)).map((words) => `G4(a), two nodes with durable writes: ${words}`),
    ...overlaps(spansOf(answers)).map((words) => `G4(a), two nodes that answered the client: ${words}`),
    ...lateFrames(frames, reigns).map((words) => `G4(b), the virtual address: ${words}`),
    ...(texts.size > 1 ? ["G7: the journals of the nodes differ"] : []),
    ...Object.entries(journals).flatMap(([node, text]) =>
      missing(text, writes, answers).map((words) => `G1, the journal on ${node}: ${words}`),
    ),
  ];
}

/**
 * For each process, the time in which it certainly could make things durable: from when it first knew to when it last asked. So one write that was confirmed before
 * its process was frozen, and is noticed when it is thawed, accuses nobody.
 */
export function spansOf(acts: readonly Act[]): Span[] {
  const spans = new Map<string, Span>();
  for (const { name, begin, end } of acts) {
    const span = spans.get(name);
    if (!span) spans.set(name, { name, from: end, to: begin });
    else {
      span.from = Math.min(span.from, end);
      span.to = Math.max(span.to, begin);
    }
  }
  return [...spans.values()];
}

/** Pairs that had at the same time what only one may have. */
export function overlaps(spans: readonly Span[]): string[] {
  const words = ({ name, from, to }: Span): string => `${name} from ${from.toFixed(1)} to ${to.toFixed(1)}`;
  return spans
    .flatMap((one, index) =>
      spans
        .slice(index + 1)
        .filter((other) => one.from < other.to && other.from < one.to)
        .map((other) => `${words(one)}, and ${words(other)}`),
    )
    .slice(0, MOST);
}

/** Frames of a node after another took over, without its having been made primary anew: what it sends in one reign may not enclose another's frames. */
export function lateFrames(frames: readonly Frame[], reigns: readonly Reign[]): string[] {
  const found: string[] = [];
  const acts: Act[] = [];
  for (const { at, node } of frames) {
    const reign = reigns.filter((one) => one.node === node && one.at <= at).length;
    if (reign === 0) found.push(`${node} spoke at ${at.toFixed(1)}, and was never made primary`);
    else acts.push({ begin: at, end: at, name: `${node} (reign ${reign})`, record: "" });
  }
  return [...found.slice(0, MOST), ...overlaps(spansOf(acts))];
}

/** What was acknowledged and is not in a journal, is there twice, or not in the order in which it was acknowledged. */
export function missing(journal: string, writes: readonly Act[], answers: readonly Act[]): string[] {
  const places = new Map<string, number>();
  const found: string[] = [];
  for (const [place, line] of journal.split("\n").entries()) {
    if (line !== "" && places.has(line)) found.push(`"${line}" is there twice`);
    places.set(line, place);
  }
  const lost = [...writes, ...answers].filter(({ record }) => !places.has(record));
  if (lost.length > 0) {
    const first = lost.slice(0, MOST).map(({ record, end }) => `"${record}" of ${end.toFixed(1)}`);
    found.push(`${lost.length} acknowledged records are missing: ${first.join(", ")}`);
  }
  for (const acts of [writes, answers]) {
    let last: Act | null = null;
    for (const act of [...acts].sort((one, other) => one.begin - other.begin)) {
      if (!places.has(act.record)) continue;
      if (last !== null && places.get(act.record)! <= places.get(last.record)!)
        found.push(`"${act.record}" was acknowledged after "${last.record}", and lies before it`);
      last = act;
    }
  }
  return found.slice(0, MOST);
}

/** How often the application was started on the other node than before. */
export function takeovers(writes: readonly Act[]): number {
  const names = new Set([...writes].sort((one, other) => one.end - other.end).map(({ name }) => name));
  const nodes = [...names].map(nodeOf);
  return nodes.filter((node, index) => index > 0 && node !== nodes[index - 1]).length;
}

/** The longest time between two answers, ms. */
export function longestGap(answers: readonly Act[]): number {
  return answers.reduce((longest, { end }, index) => {
    return index === 0 ? 0 : Math.max(longest, end - answers[index - 1]!.end);
  }, 0);
}

/** The node of a process that is called `NODE.SOMETHING`. */
export const nodeOf = (name: string): string => name.split(".")[0]!;

const lines = (text: string): string[] => text.split("\n").filter((line) => line !== "");

/** What the servers write down: `BEGIN END RECORD NAME`. */
export function readWrites(text: string): Act[] {
  return lines(text).map((line) => {
    const [begin, end, record, name] = line.split(" ") as [string, string, string, string];
    return { begin: Number(begin), end: Number(end), name, record: `${record} ${name}` };
  });
}

/** What the client writes down: `sent NUMBER TIME`, `acknowledged NUMBER TIME NAME`. */
export function readAnswers(text: string): Act[] {
  const sent = new Map<string, number>();
  return lines(text).flatMap((line) => {
    const [what, number, time, name] = line.split(" ") as [string, string, string, string?];
    if (what === "sent") sent.set(number, Number(time));
    if (name === undefined) return [];
    return [{ begin: sent.get(number)!, end: Number(time), name, record: `c${number} ${name}` }];
  });
}

/** What the `transition` hooks write down: `SECONDS NODE FROM TO`; the seconds are of /proc/uptime. */
export function readReigns(text: string): Reign[] {
  const serves = (state: string): boolean => state === "PRIM" || state === "ALONE";
  return lines(text).flatMap((line) => {
    const [seconds, node, from, to] = line.split(" ") as [string, string, string, string];
    return serves(to) && !serves(from) ? [{ at: Number(seconds) * 1000, node }] : [];
  });
}

/** What tcpdump says of `any` (`-tt -e`); `sinceEpoch` is what its clock is ahead of ours, ms. Frames count where they leave a node, and whether or not they arrive. */
export function readFrames(text: string, sinceEpoch: number): Frame[] {
  return lines(text).flatMap((line) => {
    const found = /^(\d+\.\d+) (n\d+)-lan\s/.exec(line);
    return found ? [{ at: Number(found[1]) * 1000 - sinceEpoch, node: found[2]! }] : [];
  });
}
