/** A bucket as witness, against a stand-in of what Amazon documents: signatures, conditional writes, and servers that do not honour them. */
import t from "tap";
import { openWitness } from "../../core/witness/open.ts";
import { signed } from "../../core/witness/signature.ts";
import type { RecordingWitness } from "../../core/witness/witness.ts";
import { ACCESS_KEY, Bucket, SECRET_KEY } from "../fixtures/s3_bucket.ts";

const LEASE = 1000;

/** Two nodes on a clock that the test moves. */
function lab(t: { teardown(fn: () => void): void }, secrets: Record<string, string> = {}) {
  const bucket = new Bucket();
  t.teardown(() => bucket.close());
  const time = { now: 0 };
  const nodes = ["n1", "n2"].map((node) => {
    const witness = openWitness(
      { kind: "s3", endpoint: bucket.endpoint, region: "eu-central-1", bucket: "witness", prefix: "ha/test" },
      {
        name: "demo",
        node,
        fingerprint: "0123456789abcdef",
        heartbeat: { timeoutMs: LEASE },
        credentials: { certificate: "", key: "" },
      },
      {
        secret: (key) => ({ access_key: ACCESS_KEY, secret_key: SECRET_KEY, ...secrets })[key] ?? null,
        deadlineMs: 2000,
        clock: () => time.now,
      },
    ) as RecordingWitness;
    t.teardown(() => witness.close());
    return witness;
  }) as [RecordingWitness, RecordingWitness];
  /** Lets a lease pass while a node looks. */
  const watch = async (witness: RecordingWitness): Promise<void> => {
    for (let looks = 0; looks < 4; looks++) {
      await witness.read("db");
      time.now += 0.3 * LEASE;
    }
  };
  return { bucket, time, n1: nodes[0], n2: nodes[1], watch };
}

t.test("the signature of Amazon's own example", async (t) => {
  const headers = signed(
    {
      method: "GET",
      host: "examplebucket.s3.amazonaws.com",
      path: "/test.txt",
      headers: { range: "bytes=0-9" },
      body: "",
    },
    { accessKey: ACCESS_KEY, secretKey: SECRET_KEY, region: "us-east-1" },
    Date.UTC(2013, 4, 24),
  );
  t.equal(
    headers["authorization"],
    "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
  );
});

t.test("the stand-in judges signatures as another client makes them", async (t) => {
  const { bucket } = lab(t);
  const client = (secretAccessKey: string) =>
    new Bun.S3Client({
      endpoint: bucket.endpoint,
      bucket: "witness",
      region: "eu-central-1",
      accessKeyId: ACCESS_KEY,
      secretAccessKey,
    });
  await client(SECRET_KEY).write("a/b", "text");
  t.equal(await client(SECRET_KEY).file("a/b").text(), "text");
  await t.rejects(client("wrong").file("a/b").text());
});

t.test("one holder, one record; a record that does not change for a lease is free", async (t) => {
  const { n1, n2, time, watch, bucket } = lab(t);
  t.match(await n1.probe(), { answers: true });
  t.match(await n1.renew("db", LEASE), { kind: "refused", holder: null });
  await watch(n1);
  t.match(await n1.renew("db", LEASE), { kind: "granted", sentAt: time.now });
  t.ok(
    [...bucket.objects.keys()].includes("/witness/ha/test/demo-0123456789ab/db"),
    "below the prefix, and the cluster's own name",
  );
  t.match(await n2.renew("db", LEASE), { kind: "refused", holder: "n1" });
  const first = await n1.recordSole("db", "n1", "g1", "absent");
  t.match(first, { kind: "recorded", record: { sole: "n1" } });
  t.match(await n2.recordSole("db", "n2", "g2", "absent"), { kind: "refused", record: { sole: "n1" } });
  time.now += 0.9 * LEASE;
  t.match(await n1.renew("db", LEASE), { kind: "granted" });
  t.match(await n2.read("db"), { record: { holder: "n1" } });
  time.now += 1.05 * LEASE;
  t.match(await n2.renew("db", LEASE), { kind: "refused", holder: "n1" }, "the clocks may be off");
  time.now += 0.1 * LEASE;
  t.match(await n2.renew("db", LEASE), { kind: "granted", record: { sole: "n1", generation: "g1" } });
  t.match(await n1.renew("db", LEASE), { kind: "refused", holder: "n2" });
});

t.test("answers that are lost, late, refused", async (t) => {
  const { n1, n2, bucket, time, watch } = lab(t);
  await watch(n1);
  t.match(await n1.renew("db", LEASE), { kind: "granted" });
  bucket.faults = { losesAnswers: true };
  t.match(await n1.recordSole("db", "n1", "g1", "absent"), {
    kind: "unknown",
    why: /answered 500 InternalError/,
  });
  bucket.faults = {};
  t.match(await n1.read("db"), { record: { sole: "n1", generation: "g1" } }, "read back");
  t.match(await n1.recordSole("db", "n1", "g1", "absent"), { kind: "recorded" }, "the same words again");
  bucket.faults = { conflicts: true };
  t.match(await n1.renew("db", LEASE), { kind: "granted" }, "409 is tried again");
  bucket.faults = { frozen: true };
  t.match(await n1.renew("db", LEASE), { kind: "unknown", why: /no answer in time/ });
  bucket.faults = { aheadMs: 5 * 3_600_000 };
  t.match(await n1.renew("db", LEASE), { kind: "granted" }, "trap 25: this machine's clock is hours off");
  bucket.faults = {};
  bucket.objects.clear();
  time.now += 0.2 * LEASE;
  t.match(await n2.renew("db", LEASE), { kind: "refused", holder: null }, "emptied");
  t.match(
    await n1.renew("db", LEASE),
    { kind: "granted", record: { sole: "n1", generation: "g1" } },
    "carried over",
  );
  for (const path of bucket.objects.keys()) bucket.objects.set(path, { text: "{}", tag: '"x"' });
  t.match(await n2.read("db"), { kind: "unknown" }, "what is no record is not taken for none");
});

t.test("a server that ignores conditions, and a wrong key, are refused", async (t) => {
  const { n1, bucket, watch } = lab(t);
  bucket.faults = { ignoresConditions: true };
  await watch(n1);
  t.match(await n1.renew("db", LEASE), { kind: "unknown", why: /does not honour conditional writes/ });
  t.match(await n1.probe(), { answers: false, detail: /does not honour conditional writes/ });
  const wrong = lab(t, { secret_key: "wrong" });
  t.match(await wrong.n1.probe(), { answers: false, detail: /403 SignatureDoesNotMatch/ });
  t.throws(() => lab(t, { secret_key: null as unknown as string }), {
    message: /holdfast secret set witness secret_key/,
  });
});
