/** Secrets in what hooks print become stars, however the text is cut into pieces; and the file that it was printed to forgets it. */
import { appendFileSync, chmodSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { Mask } from "../../hooks/mask.ts";
import { OutputFollower } from "../../hooks/output.ts";
import { makePrivately, placeInMemory } from "../../hooks/secret_files.ts";
import { randomFrom } from "../campaign/random.ts";

const maskOf = (...values: (string | Uint8Array)[]): Mask => {
  const mask = new Mask();
  mask.hide(values);
  return mask;
};

t.test("whole texts", async (t) => {
  const mask = maskOf("hunter2", "hunter2-longer", "  indented line \r\nab\r\nlast-line\n", "no");
  const cases: [string, string][] = [
    ["the key is hunter2.", "the key is ***."],
    ["hunter2-longer and hunter2-lon", "*** and ***-lon"],
    ["hunter2hunter2", "***"],
    ["x indented line y", "x *** y"],
    ["ab no last-line", "ab no ***"],
    ["a\nhunter2\nb", "a\n***\nb"],
    ["nothing here", "nothing here"],
  ];
  for (const [from, to] of cases) t.equal(mask.whole(from), to, from);
  t.equal(maskOf("abcd", "cdef").whole("-abcdef-"), "-***-", "secrets that overlap");
  t.equal(maskOf("one\ntwo").whole("<one\ntwo>"), "<***\n***>", "lines stay lines");
  t.equal(maskOf(Buffer.from([0xff, 0xfe, 65, 66])).whole("\ufffd\ufffdAB"), "***", "bytes that are no text");
});

t.test("in pieces, cut anywhere: the same as whole, and never a secret", async (t) => {
  const pick = randomFrom(7);
  const whole = (most: number): number => Math.floor(pick() * most);
  const letters = (length: number): string => Array.from({ length }, () => "ab\n"[whole(3)]).join("");
  // Two that touch are one row of stars, or two.
  const rows = (shown: string): string => shown.replace(/\*+/g, "*");
  for (let round = 0; round < 3000; round++) {
    const secrets = Array.from({ length: 1 + whole(3) }, () => `a${letters(2 + whole(6))}b`);
    const text = Array.from({ length: 12 }, () =>
      pick() < 0.4 ? secrets[whole(secrets.length)] : letters(whole(5)),
    ).join("");
    const mask = maskOf(...secrets);
    let shown = "";
    for (let from = 0; from < text.length; ) {
      const to = from + 1 + whole(6);
      shown += mask.push(text.slice(from, to));
      from = to;
    }
    // What is held back at the end is at most the beginning of a secret.
    const expected = maskOf(...secrets).whole(text);
    const flushed = shown + mask.flush();
    if (!rows(expected).startsWith(rows(shown)) || secrets.some((secret) => flushed.includes(secret)))
      return t.fail(`round ${round}: ${JSON.stringify({ secrets, text, shown, expected })}`);
    const ended = maskOf(...secrets);
    const all = ended.push(text) + ended.push("!");
    if (rows(all) !== rows(maskOf(...secrets).whole(`${text}!`)))
      return t.fail(`round ${round}, ended: ${JSON.stringify({ secrets, text, all })}`);
  }
  t.pass("3000 rounds");
});

t.test("thousands of lines to hide cost a text little more than one", async (t) => {
  const pick = randomFrom(3);
  const lines = Array.from({ length: 20_000 }, () => pick().toString(36).slice(2));
  const mask = maskOf(lines.join("\n"));
  const text = `${lines.slice(0, 2000).join(" shown ")}\n`;
  const shown = mask.push(text);
  t.notOk(lines.slice(0, 2000).some((line) => line.length >= 3 && shown.includes(line)));
  t.equal(shown.split(" shown ").length, 2000);
});

t.test("a file that is followed: long lines, a flood, the end in the middle of a secret", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "holdfast-mask-"));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const path = join(directory, "output");
  const lines: string[] = [];
  const follower = new OutputFollower(path, (line) => lines.push(line), false);
  follower.mask.hide(["hunter2-and-more"]);
  const print = (text: string): void => {
    appendFileSync(path, text);
    follower.drain();
  };
  // 8 KiB is where a long line is cut.
  print(`${"x".repeat(8 * 1024 - 4)}hunter2`);
  print(`-and-more${"y".repeat(9000)}\n`);
  t.notMatch(lines.join(""), /hunt|more/);
  t.match(lines.join(""), /x\*\*\*y/);
  lines.length = 0;

  follower.begin();
  print("the key is hunt");
  follower.end();
  t.same(lines, ["the key is "], "half a secret is not shown, and does not go on in the open");
  print("er2-and-more.\n");
  t.same(lines, ["the key is ", "***."]);
  lines.length = 0;

  // More than is handed on at once: what follows begins in the middle of a line.
  print(`x${"-".repeat(3 << 20)}hunter2-and-`);
  print("more\nnext line\n");
  const isTold = (): boolean => lines.some((line) => line.includes("bytes of output left out"));
  for (let round = 0; round < 200 && !isTold(); round++) {
    await Bun.sleep(20);
    follower.drain();
  }
  print("end\n");
  const text = lines.map((line) => line.replace(/-{9,}/g, "-…")).join("\n");
  t.notMatch(text, /more|and-$/m);
  t.match(text, /bytes of output left out/);
  t.match(text, /end$/);
  follower.close();
});

t.test("in memory, what was read is erased, and nothing printed meanwhile is lost", async (t) => {
  const directory = join(placeInMemory(), `holdfast-test-${process.pid}`);
  makePrivately(directory);
  makePrivately(directory);
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  t.equal(statSync(directory).mode & 0o777, 0o700);
  chmodSync(directory, 0o755);
  t.throws(() => makePrivately(directory), /is not this user's alone/);
  chmodSync(directory, 0o700);
  const leading = `${directory}-link`;
  symlinkSync(directory, leading);
  t.teardown(() => rmSync(leading));
  t.throws(() => makePrivately(leading), /is not this user's alone/, "what only leads to it");
  const path = join(directory, "db.log");
  const lines: string[] = [];
  const follower = new OutputFollower(path, (line) => lines.push(line), true);
  follower.mask.hide(["hunter2"]);
  appendFileSync(path, "hunter2\n");
  follower.drain();
  t.notMatch(readFileSync(path, "latin1"), /unter/);
  appendFileSync(path, "two\nhun");
  follower.drain();
  const again: string[] = [];
  follower.close();
  const next = new OutputFollower(path, (line) => again.push(line), true);
  next.mask.hide(["hunter2"]);
  appendFileSync(path, "ter2\nthree\n");
  next.drain();
  next.close();
  t.same(lines, ["***", "two", "***"]);
  t.same(again, ["three"], "who reads on does not show the rest of a secret");
  t.ok(statSync(path).blocks * 512 <= 8192, "no more memory than its last page");
  const third: string[] = [];
  const last = new OutputFollower(path, (line) => third.push(line), true);
  last.mask.hide(["hunter2"]);
  appendFileSync(path, "four\n");
  last.drain();
  last.close();
  t.same(third, ["four"], "after a whole line nothing is left out");
});
