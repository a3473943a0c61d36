/** Zip files that nobody has vouched for: honest ones are read, hostile ones refused whole, with a sentence that names what is wrong. */
import t from "tap";
import { PackageInvalid, readZip } from "../../modules/safekit/zip.ts";
import { type ZipEntry, zip } from "../fixtures/zip_writer.ts";

const good: ZipEntry = { name: "conf/userconfig.xml", content: "<safe/>" };

t.test("an honest archive", async (t) => {
  const files = readZip(
    zip(
      [
        { name: "bin/", content: "", stored: true },
        { name: "bin/start_prim", content: "#!/bin/sh\n".repeat(40), mode: 0o100755 },
        { name: "bin/naïve", content: "stored", stored: true },
        good,
        { name: "empty" },
      ],
      { comment: "made by a test PK\x05\x06" },
    ),
  );
  t.same([...files.keys()], ["bin/start_prim", "bin/naïve", "conf/userconfig.xml", "empty"]);
  t.equal(files.get("bin/start_prim")?.content.toString(), "#!/bin/sh\n".repeat(40));
  t.equal(files.get("bin/start_prim")?.executable, true);
  t.equal(files.get("bin/naïve")?.content.toString(), "stored");
  t.equal(files.get("bin/naïve")?.executable, false);
  t.equal(files.get("empty")?.content.length, 0);
});

const zeros = (bytes: number): Buffer => Buffer.alloc(bytes);
const MiB = 1024 * 1024;

const HOSTILE: Record<string, { bytes: () => Buffer; says: RegExp }> = {
  "a name that leaves": {
    bytes: () => zip([{ name: "../../etc/cron.d/x" }]),
    says: /"\.\.\/\.\.\/etc\/cron\.d\/x": a name that leaves/,
  },
  "a name that leaves in the middle": {
    bytes: () => zip([{ name: "bin/../../x" }]),
    says: /leaves the package/,
  },
  "an absolute name": { bytes: () => zip([{ name: "/etc/passwd" }]), says: /an absolute name/ },
  "a drive": { bytes: () => zip([{ name: "C:/x" }]), says: /an absolute name/ },
  "a backslash": { bytes: () => zip([{ name: "..\\x" }]), says: /a backslash/ },
  "a NUL in a name": { bytes: () => zip([{ name: "bin/x\0.sh" }]), says: /a control character/ },
  "an escape sequence in a name": {
    bytes: () => zip([{ name: "bin/\x1b[2J" }]),
    says: /\\u001b\[2J.*a control character/,
  },
  "a dot in the way": { bytes: () => zip([{ name: "bin/./x" }]), says: /shortest form/ },
  "an empty name": { bytes: () => zip([{ name: "" }]), says: /an empty name/ },
  "a very long name": { bytes: () => zip([{ name: `${"a/".repeat(300)}x` }]), says: /longer than 400/ },
  "a name twice": {
    bytes: () => zip([good, { ...good, content: "other" }]),
    says: /"conf\/userconfig\.xml" is there twice$/,
  },
  "a name twice but for case": {
    bytes: () => zip([good, { name: "CONF/userconfig.xml" }]),
    says: /is there twice \(but for case\)/,
  },
  "a file that is a directory": {
    bytes: () => zip([{ name: "bin" }, { name: "bin/x" }]),
    says: /"bin" is a file and a directory/,
  },
  "a symbolic link": {
    bytes: () => zip([{ name: "bin/x", content: "/etc/shadow", mode: 0o120777 }]),
    says: /"bin\/x" is a symbolic link/,
  },
  "a link that ends in a slash": {
    bytes: () => zip([{ name: "bin/", content: "/etc", mode: 0o120777 }]),
    says: /"bin\/" is a symbolic link/,
  },
  "a device": { bytes: () => zip([{ name: "bin/x", mode: 0o020666 }]), says: /no ordinary file/ },
  "a bomb of one file": {
    bytes: () => zip([{ name: "x", content: zeros(4 * MiB) }]),
    says: /more than 200 times its size: a zip bomb/,
  },
  "a file that is too large": {
    bytes: () => zip([{ name: "x", content: zeros(9 * MiB) }]),
    says: /larger than 8 MiB/,
  },
  "files that are too large together": {
    bytes: () =>
      zip(Array.from({ length: 4 }, (_, i) => ({ name: `x${i}`, content: zeros(7 * MiB), packed: 7 * MiB }))),
    says: /unpacks to more than 24 MiB/,
  },
  "a bomb that denies it": {
    bytes: () => zip([{ name: "x", content: zeros(4 * MiB), size: 100 }]),
    says: /unpacks to more than it says/,
  },
  "entries that share their bytes": {
    bytes: () => zip([good, { ...good, name: "copy", localName: "copy", offset: 0 }]),
    says: /does not agree|share bytes/,
  },
  "entries that overlap": {
    bytes: () => {
      const inner = zip([{ name: "x", content: "inner", stored: true }]).subarray(0, 36);
      return zip([
        { name: "outer", content: inner, stored: true },
        { name: "x", content: "inner", stored: true, offset: 35 },
      ]);
    },
    says: /"outer" and "x" share bytes/,
  },
  "huge counts": {
    bytes: () => zip(Array.from({ length: 2001 }, (_, i) => ({ name: `f${i}` }))),
    says: /holds 2001 entries; at most 2000/,
  },
  "a count that lies": { bytes: () => zip([good], { count: 500 }), says: /directory is damaged/ },
  "a count that hides": {
    bytes: () => zip([good, { name: "hidden" }], { count: 1 }),
    says: /holds more than it says/,
  },
  "a directory elsewhere": { bytes: () => zip([good], { start: 7 }), says: /not where its end says/ },
  "something before it": {
    bytes: () => Buffer.concat([Buffer.from("PK\x03\x04"), zip([good])]),
    says: /not where its end says/,
  },
  "another name in the local header": {
    bytes: () => zip([{ ...good, localName: "conf/userconfig.xmm" }]),
    says: /header does not agree/,
  },
  "data that reaches into the directory": {
    bytes: () => zip([{ ...good, packed: 5000 }]),
    says: /header does not agree/,
  },
  "a wrong checksum": {
    bytes: () => zip([{ ...good, crc: 1 }]),
    says: /is damaged: it is not what the directory says/,
  },
  "an unknown method": { bytes: () => zip([{ ...good, method: 12 }]), says: /compressed by method 12/ },
  encryption: { bytes: () => zip([{ ...good, flags: 1 }]), says: /is encrypted/ },
  zip64: { bytes: () => zip([good], { count: 0xffff }), says: /zip64/ },
  "a directory with content": {
    bytes: () => zip([{ name: "bin/", content: "x" }]),
    says: /is a directory with content/,
  },
  "the end missing": { bytes: () => zip([good]).subarray(0, -1), says: /its end is missing/ },
  "too large an archive": { bytes: () => zeros(17 * MiB), says: /larger than 16 MiB/ },
  nothing: { bytes: () => Buffer.alloc(0), says: /no zip file/ },
};

for (const [what, { bytes, says }] of Object.entries(HOSTILE))
  t.test(`refused: ${what}`, async (t) => {
    try {
      readZip(bytes());
      t.fail("it was read");
    } catch (error) {
      t.ok(error instanceof PackageInvalid, String(error));
      t.match(String(error), says);
    }
  });

t.test("refused: a name that is not UTF-8", async (t) => {
  const bytes = zip([{ name: "bin/zz" }]);
  for (let at = bytes.indexOf("zz"); at >= 0; at = bytes.indexOf("zz", at)) bytes[at] = 0xff;
  t.throws(() => readZip(bytes), /not UTF-8/);
});

t.test("whatever bytes are changed or cut, it is read or refused, and never anything else", async (t) => {
  const bytes = zip([
    good,
    { name: "bin/start_prim", content: "#!/bin/sh\nexit 0\n".repeat(9), mode: 0o100755 },
  ]);
  let refused = 0;
  for (let at = 0; at < bytes.length; at++)
    for (const change of [1, 0x80, 0xff]) {
      const changed = Buffer.from(bytes);
      changed[at] = changed[at]! ^ change;
      for (const one of [changed, bytes.subarray(0, at)])
        try {
          readZip(one);
        } catch (error) {
          if (!(error instanceof PackageInvalid)) t.fail(`byte ${at}: ${String(error)}`);
          refused++;
        }
    }
  t.ok(refused > bytes.length, `${refused} refused`);
});
