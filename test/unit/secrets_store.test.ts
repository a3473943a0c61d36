/** Secrets at rest and on their way between stores: newest wins in any order, nothing in clear on disk, hostile offers refused whole. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import * as v from "valibot";
import { writeDurably } from "../../core/platform/durable_file.ts";
import { MAX_SECRET_BYTES, type SealedFor, SecretKey, seal } from "../../core/secrets/seal.ts";
import { type SecretOffer, SecretStore, secretKeySchema } from "../../core/secrets/store.ts";
import {
  compareVersions,
  digestOf,
  merge,
  nextVersion,
  type SecretEntries,
  type SecretEntry,
} from "../../core/secrets/versions.ts";
import { writeSecrets } from "../../hooks/secret_files.ts";
import { randomFrom } from "../campaign/random.ts";

const folder = (t: Test): string => {
  const directory = mkdtempSync(join(tmpdir(), "holdfast-secrets-test-"));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
};
/** VAR of a node. */
function varOf(t: Test): string {
  const directory = folder(t);
  mkdirSync(join(directory, "cluster"), { mode: 0o700 });
  return directory;
}
const text = (store: SecretStore, module: string, key: string): string | undefined =>
  store.values(module, [key])[key]?.toString();
/** `to` fetches from `from`, as over the network: through JSON. */
async function fetchAll(to: SecretStore, name: string, from: SecretStore): Promise<number> {
  let taken = 0;
  for (let after = "", more = true; more; ) {
    const offer = from.give(name, JSON.parse(JSON.stringify(to.ask(after))));
    taken += (await to.take(JSON.parse(JSON.stringify(offer)) as SecretOffer)).length;
    more = offer.more;
    const last = offer.entries.at(-1);
    after = `${last?.module} ${last?.key}`;
  }
  return taken;
}

t.test("newest wins, in whatever order and however often versions come", async (t) => {
  const pick = randomFrom(20_261_126);
  const whole = (most: number): number => Math.floor(pick() * most);
  for (let round = 0; round < 300; round++) {
    const entries = Array.from({ length: 1 + whole(12) }, (): [string, SecretEntry] => [
      `k${whole(3)}`,
      {
        stamp: whole(4),
        node: `n${whole(3)}`,
        id: whole(2).toString().padStart(16, "0"),
        sealed: null,
      },
    ]);
    const merged = (order: readonly [string, SecretEntry][]): SecretEntries =>
      order.reduce<SecretEntries>((all, one) => merge(all, new Map([one])), new Map());
    const digest = (order: readonly [string, SecretEntry][]): string => digestOf([["db", merged(order)]]);
    const shuffled = [...entries, ...entries].sort(() => pick() - 0.5);
    if (digest(shuffled) !== digest(entries)) t.fail(`round ${round}: ${JSON.stringify(entries)}`);
    const half = entries.length >> 1;
    const [one, other] = [merged(entries.slice(0, half)), merged(entries.slice(half))];
    if (digestOf([["db", merge(one, other)]]) !== digestOf([["db", merge(other, one)]]))
      t.fail(`round ${round}: two halves`);
    // Who has seen a value and sets another always wins, however wrong the clock.
    const all = merged(entries);
    const next = nextVersion(all.values(), 0, whole(3), "n0", "f".repeat(16));
    for (const entry of all.values()) if (compareVersions(next, entry) <= 0) t.fail(`round ${round}: next`);
  }
  t.pass("300 rounds");
});

t.test("a sealed value opens for its node, place and version alone", async (t) => {
  const [one, other] = [varOf(t), varOf(t)].map((directory) => SecretKey.openOrMake(directory).key);
  const purpose: SealedFor = {
    recipient: "n1",
    module: "db",
    key: "password",
    version: { stamp: 1, node: "n1", id: "0".repeat(16) },
  };
  const value = Buffer.from([0, 255, 10, 13, 0]);
  const sealed = seal(value, one!.publicKey, purpose);
  t.same(one!.open(sealed, purpose), value);
  t.not(seal(value, one!.publicKey, purpose), sealed, "never the same twice");
  t.throws(() => other!.open(sealed, purpose));
  for (const changed of [
    { ...purpose, recipient: "n2" },
    { ...purpose, module: "web" },
    { ...purpose, key: "other" },
    { ...purpose, version: { ...purpose.version, stamp: 2 } },
  ])
    t.throws(() => one!.open(sealed, changed), JSON.stringify(changed));
  const bytes = Buffer.from(sealed, "base64");
  for (let index = 0; index < bytes.length; index++) {
    const broken = Buffer.from(bytes);
    broken[index]! ^= 1;
    if (!throws(() => one!.open(broken.toString("base64"), purpose))) t.fail(`byte ${index} may be changed`);
  }
  for (const bad of [
    "",
    "AAAA",
    Buffer.alloc(33).toString("base64"),
    Buffer.alloc(33, 0xff).toString("base64"),
  ])
    t.throws(() => seal(value, bad, purpose), `no key: ${bad}`);
});

function throws(work: () => unknown): boolean {
  try {
    work();
    return false;
  } catch {
    return true;
  }
}

t.test("kept on disk sealed, durable, for its owner alone", async (t) => {
  const directory = varOf(t);
  const store = new SecretStore(directory, "n1");
  const value = "correct horse battery staple";
  await store.set("db", "password", Buffer.from(value));
  await store.set("db", "empty_next", Buffer.from("x"));
  t.equal(statSync(join(directory, "secrets")).mode & 0o777, 0o700);
  for (const name of ["secrets/db.json", "cluster/secrets.key"]) {
    t.equal(statSync(join(directory, name)).mode & 0o777, 0o600, name);
    const content = readFileSync(join(directory, name));
    for (const spelling of [
      value,
      Buffer.from(value).toString("base64").slice(0, 30),
      Buffer.from(value).toString("hex"),
    ])
      t.notOk(content.includes(spelling), `${name}: not in clear`);
  }
  // What a crash between two steps of a write leaves.
  writeFileSync(join(directory, "secrets", "db.json.new"), "{ half");
  const again = new SecretStore(directory, "n1");
  t.same(again.troubles, []);
  t.equal(text(again, "db", "password"), value);
  t.equal(again.digest(), store.digest());
  await again.set("db", "password", Buffer.from("next"));
  t.same(readdirSync(join(directory, "secrets")), ["db.json"]);
  t.equal(text(new SecretStore(directory, "n1"), "db", "password"), "next");
});

t.test("what cannot be read is fetched again from the others", async (t) => {
  const [own, peer] = [varOf(t), varOf(t)];
  const store = new SecretStore(own, "n1");
  const other = new SecretStore(peer, "n2");
  await store.set("db", "password", Buffer.from("first"));
  await store.set("web", "token", Buffer.from("second"));
  t.equal(await fetchAll(other, "n2", store), 2);
  t.equal(other.digest(), store.digest());
  t.equal(await fetchAll(other, "n2", store), 0, "nothing twice");

  writeFileSync(join(own, "secrets", "db.json"), '{"version":1,"password');
  const damaged = new SecretStore(own, "n1");
  t.match(damaged.troubles, [/db\.json is damaged: kept as .*db\.json\.damaged/]);
  t.notOk(damaged.has("db", "password"));
  await fetchAll(damaged, "n1", other);
  t.equal(text(damaged, "db", "password"), "first");

  rmSync(join(own, "cluster", "secrets.key"));
  const locked = new SecretStore(own, "n1");
  t.match(locked.troubles, [/key for secrets was lost/]);
  t.notOk(locked.has("web", "token"));
  t.match(locked.list("web"), [{ key: "token", isLocked: true }]);
  t.not(locked.digest(), other.digest(), "it tells that it lacks them");
  t.same(other.give("n1", locked.ask("")).entries.length, 2);
  await fetchAll(other, "n2", locked);
  t.equal(text(other, "web", "token"), "second", "nothing is taken from a node that cannot read it");
  await fetchAll(locked, "n1", other);
  t.equal(text(locked, "web", "token"), "second");
  t.equal(locked.digest(), other.digest());
});

t.test("the cluster's other keys may change: what is kept stays readable", async (t) => {
  const directory = varOf(t);
  const store = new SecretStore(directory, "n1");
  await store.set("db", "password", Buffer.from("kept"));
  for (const name of ["ca.crt", "ca.key", "node.crt", "node.key", "cluster.key"])
    writeFileSync(join(directory, "cluster", name), `another ${name}`);
  t.equal(text(new SecretStore(directory, "n1"), "db", "password"), "kept");
});

t.test("removed stays removed, also for a node that was away", async (t) => {
  const [a, b] = [new SecretStore(varOf(t), "n1"), new SecretStore(varOf(t), "n2")];
  await a.set("db", "password", Buffer.from("one"));
  await fetchAll(b, "n2", a);
  await a.set("db", "password", null);
  t.same(a.list("db"), []);
  await fetchAll(a, "n1", b);
  t.notOk(a.has("db", "password"), "the old value does not come back");
  await fetchAll(b, "n2", a);
  t.notOk(b.has("db", "password"));
  t.equal(a.digest(), b.digest());
  await b.set("db", "password", Buffer.from("two"));
  await fetchAll(a, "n1", b);
  t.equal(text(a, "db", "password"), "two");
});

t.test("a module that was removed here takes nothing old until it is here again", async (t) => {
  const [a, b] = [new SecretStore(varOf(t), "n1"), new SecretStore(varOf(t), "n2")];
  await a.set("db", "password", Buffer.from("one"));
  await fetchAll(b, "n2", a);
  await a.forget("db");
  t.equal(await fetchAll(a, "n1", b), 0);
  t.notOk(a.has("db", "password"));
  t.ok(await a.recall("db"));
  t.equal(await fetchAll(a, "n1", b), 1);
  t.equal(text(a, "db", "password"), "one");
  await a.forget("db");
  await a.set("db", "password", Buffer.from("set anew"));
  await fetchAll(b, "n2", a);
  t.equal(text(b, "db", "password"), "set anew", "newer than what was there before");
});

t.test("many, in batches, whatever the receiver ignores", async (t) => {
  const [a, b] = [new SecretStore(varOf(t), "n1"), new SecretStore(varOf(t), "n2")];
  for (const module of ["constructor", "db", "web"])
    for (let index = 0; index < 70; index++)
      await a.set(module, `key${index}`, Buffer.from(`${module} ${index}`));
  t.equal(await fetchAll(b, "n2", a), 210);
  t.equal(b.digest(), a.digest());
  t.equal(text(b, "constructor", "key69"), "constructor 69");
  await b.forget("constructor");
  await b.forget("db");
  await a.set("web", "key0", Buffer.from("newer"));
  t.equal(await fetchAll(b, "n2", a), 1, "past a whole batch that is ignored");
});

t.test("too large, too many: refused with words, and nothing changed", async (t) => {
  const store = new SecretStore(varOf(t), "n1");
  await store.set("db", "large", Buffer.alloc(MAX_SECRET_BYTES, 7));
  await t.rejects(store.set("db", "larger", Buffer.alloc(MAX_SECRET_BYTES + 1)), /at most 65536 bytes/);
  for (let index = 1; index < 128; index++) await store.set("db", `k${index}`, Buffer.from("x"));
  const before = store.digest();
  await t.rejects(store.set("db", "one_more", Buffer.from("x")), { message: /too many secrets/ });
  t.equal(store.digest(), before);
  t.same(store.values("db", ["large"])["large"], Buffer.alloc(MAX_SECRET_BYTES, 7));
});

t.test("an offer of which a part is bad is refused whole", async (t) => {
  const [a, b] = [new SecretStore(varOf(t), "n1"), new SecretStore(varOf(t), "n2")];
  const stranger = new SecretStore(varOf(t), "n3");
  await a.set("db", "one", Buffer.from("1"));
  await a.set("db", "two", Buffer.from("2"));
  const good = a.give("n2", b.ask(""));
  const forStranger = a.give("n2", stranger.ask(""));
  const before = b.digest();
  const [first, second] = good.entries as [SecretOffer["entries"][number], SecretOffer["entries"][number]];
  const bad: SecretOffer["entries"][number][] = [
    { ...second, key: "other" },
    { ...second, module: "web" },
    { ...second, stamp: second.stamp + 1 },
    { ...second, node: "n9" },
    { ...second, sealed: first.sealed },
    { ...second, sealed: "" },
    { ...second, sealed: "AAAA" },
    forStranger.entries[1]!,
  ];
  for (const entry of bad)
    await t.rejects(b.take({ entries: [first, entry], more: false }), {
      message: /not sealed to this node, or damaged/,
    });
  t.equal(b.digest(), before);
  t.same(b.list("db"), []);
  t.equal((await b.take(good)).length, 2);
});

t.test("no name of a secret is lost when its file is read again", async (t) => {
  for (const name of ["constructor", "prototype", "1st", "a-b", ""])
    t.notOk(v.safeParse(secretKeySchema, name).success, JSON.stringify(name));
  const directory = varOf(t);
  const names = ["toString", "hasOwnProperty", "constructors", "length"];
  const store = new SecretStore(directory, "n1");
  for (const name of names) await store.set("db", name, Buffer.from(name));
  for (const name of names) t.equal(text(new SecretStore(directory, "n1"), "db", name), name);
});

t.test("secrets that cannot all be written for a run leave none behind", async (t) => {
  const parent = folder(t);
  t.throws(() => writeSecrets({ good: "hunter2", "no/place": "x" }, parent), /ENOENT/);
  t.same(readdirSync(parent), []);
});

t.test("a file that is replaced by several at once holds what the last of them wrote, whole", async (t) => {
  const file = join(folder(t), "facts.json");
  const contents = Array.from({ length: 20 }, (_, index) => `${index} ${"x".repeat(1000 * (20 - index))}`);
  await Promise.all(contents.map((content) => writeDurably(file, content)));
  t.equal(readFileSync(file, "utf8"), contents.at(-1));
});
