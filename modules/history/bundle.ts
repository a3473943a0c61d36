/**
 * `.hf` files: a module with its history in one file. It is a git bundle, so plain git reads it too: `git clone db.hf`.
 *
 * The format is gitformat-bundle(5), version 2: a line, the refs, an empty line, a pack.
 */
import type { Commit, Repository } from "./repository.ts";

const SIGNATURE_2 = "# v2 git bundle\n";
const SIGNATURE_3 = "# v3 git bundle\n";
const LIMIT_HEADER = 64 * 1024;
const PACK_SIGNATURE = "PACK";

/** A bundle that cannot be used; the message says why. */
export class BundleInvalid extends Error {
  override name = "BundleInvalid";
}

/** Makes a bundle of these refs (full name, or HEAD, to commit) with all their past. */
export async function writeBundle(
  repository: Repository,
  refs: Readonly<Record<string, Commit>>,
): Promise<Buffer> {
  const lines = Object.entries(refs).map(([ref, commit]) => `${commit} ${ref}\n`);
  const pack = await repository.pack(await repository.objectsBetween(Object.values(refs), []));
  return Buffer.concat([Buffer.from(`${SIGNATURE_2}${lines.join("")}\n`), pack]);
}

/** Reads a bundle's refs and pack. Throws BundleInvalid. */
export function readBundle(bytes: Buffer): { refs: Record<string, Commit>; pack: Buffer } {
  const head = bytes.subarray(0, LIMIT_HEADER).toString("latin1");
  const signature = [SIGNATURE_2, SIGNATURE_3].find((line) => head.startsWith(line));
  if (signature === undefined) throw new BundleInvalid("it is no git bundle");
  const end = head.indexOf("\n\n");
  if (end < 0) throw new BundleInvalid("its list of refs does not end");
  const refs: Record<string, Commit> = {};
  for (const line of Buffer.from(head, "latin1")
    .subarray(signature.length, end + 1)
    .toString("utf8")
    .split("\n")) {
    if (line === "" || line === "@object-format=sha1") continue;
    if (line.startsWith("@")) throw new BundleInvalid(`it needs what this version cannot do: ${line}`);
    if (line.startsWith("-"))
      throw new BundleInvalid("it holds only a part of a history: make it without a limit on revisions");
    const [, commit, ref] = /^([0-9a-f]{40}) (HEAD|refs\/[^\0 ]{1,250})$/.exec(line) ?? [];
    if (commit === undefined || ref === undefined) throw new BundleInvalid("its list of refs is damaged");
    refs[ref] = commit;
  }
  const pack = bytes.subarray(end + 2);
  if (pack.subarray(0, 4).toString("latin1") !== PACK_SIGNATURE) throw new BundleInvalid("it holds no pack");
  return { refs, pack };
}
