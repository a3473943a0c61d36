/**
 * execve(2): becoming another program without a new process, so that pid, descriptors and terminal stay.
 */
import { dlopen, FFIType, ptr } from "bun:ffi";

/** A NUL-terminated array of C strings; the strings must stay referenced until the call. */
function stringVector(strings: readonly string[]): { vector: BigUint64Array<ArrayBuffer>; kept: Buffer[] } {
  const kept = strings.map((text) => {
    const bytes = Buffer.from(new ArrayBuffer(Buffer.byteLength(text) + 1));
    bytes.write(text);
    return bytes;
  });
  const vector = new BigUint64Array(new ArrayBuffer(8 * (strings.length + 1)));
  for (const [index, bytes] of kept.entries()) vector[index] = BigInt(ptr(bytes));
  return { vector, kept };
}

/** Replaces this process by `command` with exactly `environment`. Returns only when the kernel refused (then throws). */
export function replaceProcess(
  command: readonly [string, ...string[]],
  environment: Readonly<Record<string, string>>,
): never {
  const libc = dlopen("libc.so.6", {
    execve: { args: [FFIType.cstring, FFIType.ptr, FFIType.ptr], returns: FFIType.i32 },
  });
  const path = stringVector([command[0]]);
  const argumentsOf = stringVector(command);
  const variables = stringVector(Object.entries(environment).map(([name, value]) => `${name}=${value}`));
  libc.symbols.execve(ptr(path.kept[0]!), ptr(argumentsOf.vector), ptr(variables.vector));
  throw new Error(`cannot execute ${command[0]}`);
}
