/** A node's journal: bounded in memory and on disk, whole after a crash in the middle of a line. */
import { spawnSync } from "node:child_process";
import { appendFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { Journal } from "../../core/daemon/journal.ts";

function directory(t: Test): string {
  const dir = mkdtempSync(join(tmpdir(), "holdfast-journal-"));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

const numbers = (decisions: readonly unknown[]): number[] =>
  decisions.map((entry) => (entry as { number: number }).number);

async function until(settled: () => Promise<boolean>): Promise<void> {
  while (!(await settled())) await Bun.sleep(5);
}

t.test("a line that a power cut tore does not take the next one with it", async (t) => {
  const dir = directory(t);
  new Journal(dir, "n1").decision({ number: 1 });
  const file = join(dir, "decisions.log");
  await until(async () => (await new Journal(dir, "n1").told(null)).decisions.length === 1);
  appendFileSync(file, '{"time":"2026-11-27T03:10:00.000Z","node":"n1","numb');
  const next = new Journal(dir, "n1");
  next.decision({ number: 2 });
  await until(async () => (await next.told(null)).decisions.length === 2);
  t.same(numbers((await next.told(null)).decisions), [1, 2]);
});

t.test("what is told around a time", async (t) => {
  const dir = directory(t);
  const line = (minute: number): string =>
    `{"time":"2026-11-27T03:${String(minute).padStart(2, "0")}:00.000Z","node":"n1","number":${minute}}\n`;
  const file = join(dir, "decisions.log");
  appendFileSync(`${file}.1`, Array.from({ length: 20 }, (_, minute) => line(minute)).join(""));
  appendFileSync(file, Array.from({ length: 20 }, (_, minute) => line(minute + 20)).join(""));
  const journal = new Journal(dir, "n1");
  const told = await journal.told("2026-11-27T03:10:00.000Z");
  t.equal(told.since, "2026-11-27T03:00:00.000Z", "how far it reaches");
  t.equal(numbers(told.decisions).length, 40, "all of it, while it is short");
  const open = (): number => readdirSync("/proc/self/fd").length;
  const before = open();
  for (let time = 0; time < 50; time++) await journal.told("2026-11-27T03:10:00.000Z");
  await until(async () => open() <= before + 2);
  t.pass("no file stays open");
});

t.test("a disk that hangs costs lines, not memory", async (t) => {
  const dir = directory(t);
  mkdirSync(dir, { recursive: true });
  const file = join(dir, "decisions.log");
  // Opening it for writing does not return before somebody reads.
  t.equal(spawnSync("mkfifo", [file]).status, 0);
  const journal = new Journal(dir, "n1");
  for (let number = 0; number < 25_000; number++) journal.decision({ number });
  await Bun.sleep(50);
  for (let number = 25_000; number < 50_000; number++) journal.decision({ number });
  const reader = await open(file, "r");
  let text = "";
  while (!text.includes('"number":last')) {
    const { bytesRead, buffer } = await reader.read(Buffer.alloc(1 << 16), 0, 1 << 16, null);
    text += buffer.subarray(0, bytesRead).toString();
    const known = text.split("\n").length - 1;
    if (known >= 10_000 && bytesRead === 0) break;
  }
  await reader.close();
  const lines = text.split("\n").length - 1;
  t.ok(lines > 0 && lines <= 20_000, `${lines} of 50 000 lines waited`);
});

t.test("on disk it keeps to its size", async (t) => {
  const dir = directory(t);
  const journal = new Journal(dir, "n1");
  const filling = "x".repeat(1000);
  for (let round = 0; round < 30; round++) {
    for (let number = 0; number < 1000; number++)
      journal.decision({ number: round * 1000 + number, filling });
    await until(async () => numbers((await journal.told(null)).decisions).at(-1) === round * 1000 + 999);
  }
  const sizes = ["", ".1"].map((part) => statSync(join(dir, `decisions.log${part}`)).size);
  t.ok(
    sizes.every((size) => size <= 9 << 20),
    sizes.join(),
  );
  t.ok(readFileSync(join(dir, "decisions.log"), "utf8").endsWith("\n"));
});
