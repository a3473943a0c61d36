/**
 * A node's credentials on disk, in VAR/cluster. A half-written directory never counts: it is filled under another name,
 * synced, and renamed, so that a node is a member of its cluster or is not.
 */
import { randomUUID } from "node:crypto";
import {
  chmodSync,
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { makeDirectoryDurably, syncDirectory } from "../platform/durable_directory.ts";

/** Content by file name: cluster.yaml node.json ca.crt ca.key node.crt node.key cluster.key. */
export type CredentialFiles = Record<(typeof CREDENTIAL_NAMES)[number], string>;

/** The files of VAR/cluster that make a member. */
const CREDENTIAL_NAMES = [
  "cluster.yaml",
  "node.json",
  "ca.crt",
  "ca.key",
  "node.crt",
  "node.key",
  "cluster.key",
] as const;

/** What happened with a cluster's identity, and what to do about it. */
export class ClusterError extends Error {
  override readonly name = "ClusterError";
}

/** The cluster was asked and said no: the token or the name is wrong, and trying again is of no use. */
export class JoinRefused extends ClusterError {}

/** The directory of the credentials under a node's var directory. */
export const clusterDirectory = (varDir: string): string => join(varDir, "cluster");

function writeSynced(file: string, content: string): void {
  const fd = openSync(file, "w", 0o600);
  try {
    const bytes = Buffer.from(content);
    for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Replaces one file of `directory` so that a crash leaves the old or the new, and the new is on stable storage. Mode 0600. */
export function replaceDurably(file: string, content: string): void {
  writeSynced(`${file}.new`, content);
  renameSync(`${file}.new`, file);
  syncDirectory(dirname(file));
}

/** Makes one file, on stable storage and whole as soon as it is there. Where there is one already, that one stays. Mode 0600. */
export function createDurably(file: string, content: string): void {
  const draft = `${file}.${randomUUID()}`;
  writeSynced(draft, content);
  try {
    linkSync(draft, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  } finally {
    rmSync(draft);
  }
  syncDirectory(dirname(file));
}

/** Makes VAR/cluster with all its files at once. Throws ClusterError when there is one. */
export function installCredentials(varDir: string, files: CredentialFiles): void {
  makeDirectoryDurably(varDir);
  const target = clusterDirectory(varDir);
  refuseMember(varDir);
  const draft = mkdtempSync(`${target}.new-`);
  try {
    chmodSync(draft, 0o700);
    for (const name of CREDENTIAL_NAMES) writeSynced(join(draft, name), files[name]);
    syncDirectory(draft);
    renameSync(draft, target);
  } catch (error) {
    rmSync(draft, { recursive: true, force: true });
    throw error;
  }
  syncDirectory(varDir);
}

/** Throws ClusterError when this var directory already belongs to a cluster. */
export function refuseMember(varDir: string): void {
  const target = clusterDirectory(varDir);
  if (existsSync(target))
    throw new ClusterError(
      `this node already belongs to a cluster (${target} exists): stop its daemon and move that directory away first`,
    );
}

/** Reads all files of VAR/cluster; null when there is no such directory. Throws ClusterError naming a file that cannot be read. */
export function readCredentials(varDir: string): CredentialFiles | null {
  const directory = clusterDirectory(varDir);
  if (!existsSync(directory)) return null;
  const read = (name: string): string => {
    try {
      return readFileSync(join(directory, name), "utf8");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EACCES")
        throw new ClusterError(
          `only its owner may read ${directory}: use sudo, or name another directory with --var`,
        );
      const why = error instanceof Error ? error.message : String(error);
      throw new ClusterError(
        `this node's identity is damaged: ${why}. Restore ${directory} from a backup, or move it away and join again`,
      );
    }
  };
  return Object.fromEntries(CREDENTIAL_NAMES.map((name) => [name, read(name)])) as CredentialFiles;
}
