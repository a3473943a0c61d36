/** A witness and its tokens, begun at the same moment in a directory that is not there yet, are one witness. */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { parseToken } from "../../core/cluster/join_token.ts";
import { loadAuthority } from "../../core/cluster/load_authority.ts";
import {
  createWitnessToken,
  Enrolment,
  witnessDirectory,
  witnessIdentity,
} from "../../core/witness/enrolment.ts";
import { serveWitness } from "../../core/witness/service.ts";

const EACH = 15;
const PLACE = { addresses: ["10.0.0.9"], port: 9460 };

t.test("who asks first makes the identity, and all the others get the same", async (t) => {
  const varDir = mkdtempSync(join(tmpdir(), "holdfast-witness-"));
  t.teardown(() => rmSync(varDir, { recursive: true }));
  const identities = await Promise.all(Array.from({ length: 4 }, () => witnessIdentity(varDir)));
  const now = await witnessIdentity(varDir);
  for (const { fingerprint, key } of identities)
    t.same({ fingerprint, key }, { fingerprint: now.fingerprint, key: now.key });
  t.same(readdirSync(witnessDirectory(varDir)), ["identity.json"], "no draft is left");
});

t.test("tokens that several processes make at the same moment are all good, and each once", async (t) => {
  const varDir = mkdtempSync(join(tmpdir(), "holdfast-witness-"));
  t.teardown(() => rmSync(varDir, { recursive: true }));
  const identity = await witnessIdentity(varDir);
  const { certificate: authority } = await (await loadAuthority()).createAuthority();
  const enrolment = new Enrolment(varDir, identity, () => 0);
  const use = (token: string): unknown =>
    enrolment.enrol({ secret: parseToken(token, "witness").secret, cluster: "demo", authority });
  const script = `import { createWitnessToken, witnessIdentity } from "${import.meta.dir}/../../core/witness/enrolment.ts";
const identity = await witnessIdentity("${varDir}");
console.log("ready");
const made = Array.from({ length: ${EACH} }, () => createWitnessToken("${varDir}", identity, ${JSON.stringify(PLACE)}).token);
console.log(JSON.stringify(made));`;
  const before = Array.from({ length: EACH }, () => createWitnessToken(varDir, identity, PLACE).token);
  const makers = Array.from({ length: 3 }, () => Bun.spawn([process.execPath, "-e", script]));
  const said = makers.map(({ stdout }) => new Response(stdout).text());
  // The witness itself uses some up meanwhile.
  for (const token of before) {
    use(token);
    await Bun.sleep(20);
  }
  const made = (await Promise.all(said)).flatMap((text) => JSON.parse(text.split("\n")[1]!) as string[]);
  t.equal(made.length, 3 * EACH);
  t.same(
    made.filter((token) => {
      try {
        use(token);
        return false;
      } catch {
        return true;
      }
    }),
    [],
    "each is good",
  );
  for (const token of [...before, ...made]) t.throws(() => use(token), /used already/);
});

t.test("an address where another program listens is told once, and tried again", async (t) => {
  const varDir = mkdtempSync(join(tmpdir(), "holdfast-witness-"));
  t.teardown(() => rmSync(varDir, { recursive: true, force: true }));
  const port = 20_000 + (process.pid % 20_000);
  const said: string[] = [];
  const serve = (name: string, tell: (text: string) => void) =>
    serveWitness({ varDir: join(varDir, name), addresses: ["127.0.0.1"], port, version: "0", tell });
  const first = await serve("first", () => undefined);
  const second = await serve("second", (text) => said.push(text));
  await Bun.sleep(2500);
  t.match(said, [
    /^nobody reaches this witness at 127\.0\.0\.1, TCP port \d+: another program listens there/,
  ]);
  t.equal(said.length, 1);
  second.close();
  first.close();
});
