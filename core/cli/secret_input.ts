/**
 * A secret's value as it is typed or piped in: never an argument, which every user of the machine could read.
 */
import { MAX_SECRET_BYTES } from "../secrets/secrets.ts";
import { CommandError, EXIT } from "./command.ts";

const [INTERRUPT, END, BACKSPACE, DELETE, CLEAR] = ["\x03", "\x04", "\b", "\x7f", "\x15"];

/** The value from standard input; from a terminal it is asked for twice, and not shown. Throws CommandError. */
export async function readSecret(what: string, exact: boolean): Promise<Buffer> {
  const value = process.stdin.isTTY ? await askTwice(what) : await readAll();
  return exact ? value : withoutLineEnd(value);
}

async function readAll(): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of Bun.stdin.stream()) {
    bytes += part.length;
    // A line end may still go.
    if (bytes > MAX_SECRET_BYTES + 2)
      throw new CommandError(
        EXIT.usage,
        `a secret has at most ${MAX_SECRET_BYTES} bytes; nothing was changed`,
      );
    parts.push(part);
  }
  return Buffer.concat(parts);
}

/** A line as `echo` prints it is meant without its end; what has several lines is a file, and stays as it is. */
export function withoutLineEnd(value: Buffer): Buffer {
  const first = value.indexOf("\n");
  if (first < 0 || first !== value.length - 1) return value;
  return value.subarray(0, value[first - 1] === 0x0d ? first - 1 : first);
}

async function askTwice(what: string): Promise<Buffer> {
  const value = await askHidden(`${what} (not shown): `);
  if (value !== (await askHidden(`${what}, again: `)))
    throw new CommandError(EXIT.usage, "the two are not the same; nothing was changed");
  return Buffer.from(value);
}

/** One line of the terminal, which does not show it meanwhile. */
async function askHidden(prompt: string): Promise<string> {
  const { stdin, stderr } = process;
  stderr.write(prompt);
  stdin.setRawMode(true);
  stdin.setEncoding("utf8").resume();
  try {
    return await new Promise((resolve, reject) => {
      let typed: string[] = [];
      const end = (how: () => void): void => {
        stdin.off("data", onData);
        how();
      };
      const onData = (text: string): void => {
        for (const character of text) {
          if (character === "\r" || character === "\n") {
            end(() => resolve(typed.join("")));
            return;
          }
          if (character === INTERRUPT || character === END) {
            end(() => reject(new CommandError(EXIT.failed, "cancelled; nothing was changed")));
            return;
          }
          if (character === BACKSPACE || character === DELETE) typed.pop();
          else if (character === CLEAR) typed = [];
          else typed.push(character);
        }
      };
      stdin.on("data", onData);
    });
  } finally {
    stdin.setRawMode(false);
    stdin.pause();
    stderr.write("\n");
  }
}
