/**
 * `Deno.test`: keeps what a file registers. A script that is only run does nothing with it, as under Deno.
 */

/** What a test's function gets. */
export interface TestContext {
  name: string;
  origin: string;
  parent?: TestContext;
  step(first: string | TestBody | (TestOptions & { fn: TestBody }), body?: TestBody): Promise<boolean>;
}

type TestBody = (context: TestContext) => unknown;

interface TestOptions {
  name?: string;
  ignore?: boolean;
  only?: boolean;
  timeout?: number;
  retry?: number;
  repeats?: number;
}

/** One registered test. */
export interface RegisteredTest {
  name: string;
  fn: TestBody;
  ignore: boolean;
  only: boolean;
  /** Milliseconds, or null. */
  timeoutMs: number | null;
  retry: number;
  repeats: number;
}

type Around = "beforeAll" | "beforeEach" | "afterEach" | "afterAll";

/** Everything that was registered since the last `takeTests`. */
export interface Registered {
  tests: RegisteredTest[];
  around: Record<Around, (() => unknown)[]>;
}

const nothing = (): Registered => ({
  tests: [],
  around: { beforeAll: [], beforeEach: [], afterEach: [], afterAll: [] },
});

let registered = nothing();

/** What has been registered, and forgets it. */
export function takeTests(): Registered {
  const taken = registered;
  registered = nothing();
  return taken;
}

/** The forms in which a test may be written down: name, options and function, each where its kind allows. */
function normalized(parts: readonly unknown[]): { name: string; fn: TestBody; options: TestOptions } {
  let name: string | undefined;
  let fn: TestBody | undefined;
  let options: TestOptions = {};
  for (const part of parts) {
    if (typeof part === "string") name = part;
    else if (typeof part === "function") fn = part as TestBody;
    else if (typeof part === "object" && part !== null) {
      options = part as TestOptions;
      fn ??= "fn" in part && typeof part.fn === "function" ? (part.fn as TestBody) : undefined;
    }
  }
  if (fn === undefined) throw new TypeError("Missing test function");
  name ??= options.name ?? fn.name;
  if (name === "") throw new TypeError("The test name can't be empty");
  return { name, fn, options };
}

type Register = (...parts: unknown[]) => void;

function registering(forced: { ignore?: true; only?: true }): Register & { each: ReturnType<typeof eachOf> } {
  const register: Register = (...parts) => {
    const { name, fn, options } = normalized(parts);
    registered.tests.push({
      name,
      fn,
      ignore: forced.ignore ?? options.ignore === true,
      only: forced.only ?? options.only === true,
      timeoutMs: options.timeout ?? null,
      retry: options.retry ?? 0,
      repeats: options.repeats ?? 0,
    });
  };
  return Object.assign(register, { each: eachOf(register) });
}

/** `Deno.test.each([[1, 2], [3, 4]])("adds %i and %i", (a, b) => …)`. */
function eachOf(register: Register) {
  return (cases: readonly unknown[]) =>
    (name: string, ...rest: unknown[]): void => {
      for (const one of cases) {
        const values: readonly unknown[] = Array.isArray(one) ? one : [one];
        const { fn, options } = normalized([name, ...rest]);
        const call = fn as (...args: readonly unknown[]) => unknown;
        const shown = [...values];
        const title = name.replace(/%[sdifjoO]/g, (mark) => {
          if (shown.length === 0) return mark;
          const value = shown.shift();
          return typeof value === "string" ? value : (JSON.stringify(value) ?? String(value));
        });
        register(title, options, (context: TestContext) =>
          Array.isArray(one) ? call(...values) : call(one, context),
        );
      }
    };
}

const around = (when: Around) => (work: () => unknown) => {
  registered.around[when].push(work);
};

/** `Deno.test`, with `ignore`, `only`, `each` and what runs around tests. */
export const test = Object.assign(registering({}), {
  ignore: registering({ ignore: true }),
  only: registering({ only: true }),
  beforeAll: around("beforeAll"),
  beforeEach: around("beforeEach"),
  afterEach: around("afterEach"),
  afterAll: around("afterAll"),
  /** Leaks of operations and resources are not looked for here. */
  sanitizer(_: { ops?: boolean; resources?: boolean }): void {},
});
