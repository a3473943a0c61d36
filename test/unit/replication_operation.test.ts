import t from "tap";
import { LAYOUT } from "../../core/replication/layout.ts";
import { Frame, FrameType, MAX_FRAME_BYTES, Stretch, WireError } from "../../core/replication/operation.ts";
import { EntryReader, putEntry, putXattr, XattrReader } from "../../core/replication/packed.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const stretch = (of: Uint8Array) => {
  const made = new Stretch();
  made.set(of);
  return made;
};

/** The fault of the WireError that `action` throws; anything else is a bug. */
function fault(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof WireError) return error.fault;
    throw error;
  }
  return "none";
}

/** A value at the edge of what the kind carries. */
function edgeValue(kind: string, salt: number): number {
  if (kind === "u32") return 0xffff_fff0 + (salt % 16);
  if (kind === "time") return salt % 2 ? -1_234_567_890_123 : 2 ** 53 - 1;
  if (kind === "size") return 2 ** 53 - 1 - salt;
  return 2 ** 48 - 1 - salt;
}

t.test("every frame comes back as it was written, at the limits of each field", async (t) => {
  const out = new Uint8Array(new ArrayBuffer(4096));
  for (const [name, type] of Object.entries(FrameType)) {
    const sent = new Frame();
    sent.type = type;
    sent.sequence = 2 ** 53 - 1;
    LAYOUT[type].forEach(([key, kind], salt) => {
      if (key === "name" || key === "toName" || key === "data") sent[key].set(bytes(`é\n${key}${salt}`));
      else sent[key] = edgeValue(kind, salt);
    });
    const end = sent.encode(out, 7);
    t.equal(end, 7 + sent.frameBytes(), `${name}: its size is known before`);
    const got = new Frame();
    t.equal(got.decode(out, 7, out.length), end, `${name}: read whole`);
    t.equal(got.sequence, sent.sequence);
    for (const [key] of LAYOUT[type]) {
      if (key === "name" || key === "toName" || key === "data")
        t.equal(got[key].key(), sent[key].key(), `${name}.${key}`);
      else t.equal(got[key], sent[key], `${name}.${key}`);
    }
    for (let cut = 7; cut < end; cut++) t.equal(got.decode(out, 7, cut), 0, `${name}: waits for the rest`);
  }
});

t.test("a malformed frame is refused by name", async (t) => {
  const out = new Uint8Array(new ArrayBuffer(8192));
  const frame = new Frame();
  const refused = (expected: string, change: () => void, what: string) => {
    frame.type = FrameType.BIND;
    frame.sequence = 1;
    frame.id = 5;
    frame.parent = 6;
    frame.name.set(bytes("name"));
    frame.encode(out, 0);
    change();
    t.equal(
      fault(() => new Frame().decode(out, 0, out.length)),
      expected,
      what,
    );
  };
  refused("FrameTooShort", () => (out[0] = 15), "shorter than its header");
  refused("FrameTooLong", () => out.set([1, 0, 0x40, 0]), "longer than any frame");
  refused("UnknownType", () => (out[4] = 255), "a type that nobody knows");
  refused("BadNumber", () => (out[15] = 0x7f), "a sequence beyond 2^53");
  refused("BadIdentity", () => out.fill(0, 16, 24), "identity 0");
  refused("BadIdentity", () => (out[22] = 1), "an identity of 49 bits");
  refused("FieldCutOff", () => (out[36] = 200), "a name longer than the frame");
  refused("BadName", () => (out[38] = 47), "a slash in a name");
  refused("BadName", () => (out[38] = 0), "a NUL in a name");
  refused("TrailingBytes", () => out[0]!++, "bytes that no field explains");
  for (const name of [".", "..", "", "x".repeat(256), "../etc"]) {
    frame.name.set(bytes(name));
    t.equal(
      fault(() => frame.encode(out, 0)),
      "BadName",
      `name ${JSON.stringify(name.slice(0, 8))}`,
    );
  }
  frame.type = FrameType.WRITE;
  frame.data.set(new Uint8Array(MAX_FRAME_BYTES));
  t.equal(
    fault(() => frame.encode(out, 0)),
    "FrameTooLong",
  );
  frame.data.set(new Uint8Array(8192));
  t.equal(
    fault(() => frame.encode(out, 0)),
    "NoRoom",
  );
});

t.test("trap 32: an offset over 2^53 is refused, not rounded", async (t) => {
  const out = new Uint8Array(new ArrayBuffer(256));
  const frame = new Frame();
  frame.type = FrameType.ZERO;
  frame.id = 1;
  frame.offset = 2 ** 53;
  t.equal(
    fault(() => frame.encode(out, 0)),
    "BadNumber",
  );
  frame.offset = 0;
  frame.encode(out, 0);
  out[24 + 7] = 0x10;
  t.equal(
    fault(() => frame.decode(out, 0, 256)),
    "BadNumber",
  );
});

t.test("random and mutated bytes never do more than a WireError", async (t) => {
  let state = 12345;
  const random = (below: number) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const buffer = new Uint8Array(new ArrayBuffer(512));
  const types = Object.values(FrameType);
  const frame = new Frame();
  const entries = new EntryReader();
  const xattrs = new XattrReader();
  let refused = 0;
  for (let round = 0; round < 60_000; round++) {
    for (let index = 0; index < buffer.length; index++) buffer[index] = random(4) ? 0 : random(256);
    buffer[0] = 16 + random(200);
    buffer.fill(0, 1, 8);
    buffer[4] = random(8) ? types[random(types.length)]! : random(256);
    try {
      const end = frame.decode(buffer, 0, buffer.length);
      if (end > buffer.length) t.fail("read beyond the buffer");
      entries.open(frame.data);
      while (entries.next());
      xattrs.open(frame.data);
      while (xattrs.next());
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      refused++;
    }
  }
  t.ok(refused > 1000, `${refused} refused`);
});

t.test("entries and extended attributes inside a frame", async (t) => {
  const out = new Uint8Array(new ArrayBuffer(512));
  const name = new Uint8Array([0xff, 0xfe, 10]);
  let end = putEntry(out, 0, 2 ** 47 + 3, 4, name);
  end = putEntry(out, end, 9, 8, bytes("b"));
  const entries = new EntryReader();
  entries.open(stretch(out.slice(0, end)));
  t.ok(entries.next());
  t.same([entries.id, entries.type, entries.name.key()], [2 ** 47 + 3, 4, "\xff\xfe\n"]);
  t.ok(entries.next());
  t.same([entries.id, entries.name.key()], [9, "b"]);
  t.notOk(entries.next());
  entries.open(stretch(out.slice(0, end - 1)));
  t.ok(entries.next());
  t.equal(
    fault(() => entries.next()),
    "FieldCutOff",
  );

  end = putXattr(out, 0, bytes("user.a/b"), bytes("value"));
  end = putXattr(out, end, bytes("trusted.x"), bytes(""));
  const xattrs = new XattrReader();
  xattrs.open(stretch(out.slice(0, end)));
  t.ok(xattrs.next());
  t.same([xattrs.name.key(), xattrs.value.key()], ["user.a/b", "value"]);
  t.ok(xattrs.next());
  t.same([xattrs.name.key(), xattrs.value.length], ["trusted.x", 0]);
  t.notOk(xattrs.next());
});
