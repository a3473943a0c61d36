/**
 * Preloaded into the real Deno: writes to the file that $RECORD names which members of the namespace the script itself uses, each once
 * (`stat`, `FsFile.read`). What Deno's own code does with them does not count.
 */
const real = Deno;
const { writeTextFileSync } = real;
const file = real.env.get("RECORD")!;
const known = new Set<string>();

function note(name: string): void {
  // Frames: this one, the watched member, and whoever uses it.
  if (known.has(name) || !new Error().stack?.split("\n")[3]?.includes("/test/deno/")) return;
  known.add(name);
  writeTextFileSync(file, `${name}\n`, { append: true });
}

/** The members of an object and of its class tell that they are used. */
function watch(owner: string, object: object): void {
  for (let one = object; one !== Object.prototype && one !== Function.prototype; one = Object.getPrototypeOf(one))
    for (const [name, found] of Object.entries(Object.getOwnPropertyDescriptors(one))) {
      if (name === "constructor" || name === "prototype" || !found.configurable) continue;
      Object.defineProperty(one, name, {
        configurable: true,
        enumerable: found.enumerable ?? false,
        get() {
          note(`${owner}.${name}`);
          return found.get ? found.get.call(this) : found.value;
        },
        ...(found.set ? { set: found.set } : {}),
      });
    }
}

const { FsFile, Command, ChildProcess } = real;
for (const [name, object] of Object.entries({ FsFile, Command, ChildProcess })) watch(name, object.prototype);
const { env, stdin, stdout, permissions, errors, test } = real;
for (const [name, object] of Object.entries({ env, stdin, stdout, permissions, errors, test })) watch(name, object);

Object.defineProperty(globalThis, "Deno", {
  value: new Proxy(real, {
    get(target, name) {
      note(String(name));
      return Reflect.get(target, name);
    },
  }),
});
