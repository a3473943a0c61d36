// How values are printed: Deno.inspect and the console.
class Plain {
  a = 1;
}
class Tagged extends Plain {
  get [Symbol.toStringTag]() {
    return "tag";
  }
}
class Customised {
  [Symbol.for("Deno.customInspect")](inspect: typeof Deno.inspect) {
    return `custom ${inspect({ a: "b" })}`;
  }
}
class NodeCustomised {
  [Symbol.for("nodejs.util.inspect.custom")]() {
    return "by node's symbol";
  }
}
class Listed extends Array {}
class Mapped extends Map {}
const circular: Record<string, unknown> = { name: "itself", inner: { list: [] as unknown[] } };
circular["self"] = circular;
(circular["inner"] as { list: unknown[] }).list.push(circular["inner"], circular);
const withAccessors = {
  get a() {
    return 1;
  },
  set b(_: number) {},
  get c() {
    return { deep: true };
  },
  set c(_: object) {},
};
const named = () => {};
const decorated = Object.assign(() => {}, { extra: 1 });
const sparse = [1, , 3, , , 6];
const extended = Object.assign([1, 2], { more: true, "not a name": 1 });
const values: unknown[] = [
  undefined, null, true, 0, -0, 1.5, NaN, Infinity, 10n, "text", "it's", 'say "x"', `both ' and "`, `all ' " \``, "", "tab\tline\nback\\slash \u0001 \u007f \u{1f600}", "\ud800",
  Symbol("s"), Symbol(), Symbol("two words"), Symbol.iterator,
  {}, { a: 1 }, { a: 1, "b-c": 2, 3: 4, "é": 5, $: 6, _: 7, [Symbol("k")]: 8 }, { a: { b: { c: { d: { e: { f: 1 } } } } } }, { a: { b: { c: {} } } },
  { long: "x".repeat(60), other: "y".repeat(30) }, { one: "first value here", two: "second value here", three: "third value here", four: 4 },
  { f() {}, g: named, h: class {}, i: class Named extends Plain {}, async j() {}, *k() {}, async *l() {} },
  [], [1, 2, 3], [[]], [[[[[[1]]]]]], ["a", "b"], [undefined, null], sparse, [, ,], extended, new Array(5), new Listed(), Listed.from([1, 2]),
  Array.from({ length: 7 }, (_, i) => i), Array.from({ length: 30 }, (_, i) => i * 37), Array.from({ length: 101 }, (_, i) => i), Array.from({ length: 250 }, (_, i) => i),
  Array.from({ length: 20 }, (_, i) => "word".repeat(i % 5)), Array.from({ length: 10 }, (_, i) => ({ i })), ["x".repeat(40), "y".repeat(40)], Array.from({ length: 8 }, () => "x".repeat(30)),
  [1.5, -2, 300000, 4, 5, 6, 7, 8], [1n, 2n, 3n, 4n, 5n, 6n, 7n], Array.from({ length: 12 }, (_, i) => [i, i * i]),
  new Set(), new Set([1, "a", { b: 1 }]), new Map(), new Map<unknown, unknown>([["a", 1], [{ k: 1 }, [2]]]), new Mapped([[1, 2]]), new Set(Array.from({ length: 120 }, (_, i) => i)),
  new Map([["a".repeat(40), "b".repeat(40)]]), { map: new Map([["k", { v: 1 }]]), set: new Set([[1]]) },
  new Uint8Array(), new Uint8Array([1, 2, 3]), new Float64Array([1.5, -0]), new BigInt64Array([1n]), new Uint8Array(200), new ArrayBuffer(4),
  new Date(0), new Date(NaN), /re/g, new Plain(), new Tagged(), new Customised(), new NodeCustomised(), { inner: new Customised() },
  Object.create(null), Object.assign(Object.create(null), { a: 1 }), Object.create(Plain.prototype), new (class {})(), new (class extends Plain {})(),
  circular, withAccessors, named, decorated, class {}, Plain, Tagged, async () => {}, function* gen() {}, async function* agen() {}, function () {}, Math.max,
  new Number(3), new String("abc"), new Boolean(false), Object(Symbol("boxed")), Object(5n),
  Promise.resolve(5), Promise.resolve({ a: 1 }), new Promise(() => {}), new WeakMap(), new WeakSet(),
  [1, 2][Symbol.iterator](), (function* () {})(), new URL("https://user:pass@example.org:8080/path?q=1#hash"), new Headers({ a: "b", "c-d": "e" }),
  Math, JSON, globalThis === Deno, (function () { return arguments; })(),
  { text: "line one\nline two" }, ["multi\nline"], { deep: { text: "a fairly long line of text that goes on\nand a second long line of text as well\n" } },
  "x".repeat(200), ["x".repeat(200)], { a: [{ b: [{ c: [{}] }] }] }, [{ a: 1, b: 2 }, { a: 3, b: 4 }], { empty: [], none: {}, nothing: null, missing: undefined },
];
for (const [index, value] of values.entries()) {
  console.log(index, value);
  console.log(Deno.inspect(value));
}
const options: Deno.InspectOptions[] = [
  { depth: 0 }, { depth: 1 }, { compact: false }, { breakLength: 20 }, { breakLength: 200 }, { iterableLimit: 3 }, { sorted: true }, { trailingComma: true },
  { getters: true }, { strAbbreviateSize: 5 }, { escapeSequences: false }, { showHidden: true }, { compact: false, trailingComma: true },
];
const subject = { z: [1, 2, 3, 4, 5], a: { b: { c: new Map([["k", "a longer text\n"]]) } }, get y() { return 9; } };
for (const option of options) console.log(option, Deno.inspect(subject, option));
console.log(Deno.inspect("text"), Deno.inspect(subject.z, { iterableLimit: 2 }));
