/**
 * Who a Holdfast witness is, and whom it serves: its own authority and certificate, made at its first start, and the authorities of the clusters that enrolled.
 * All of it lies in VAR/witness, and is on stable storage before anybody is told.
 */
import { createHash, X509Certificate } from "node:crypto";
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import { ClusterError, createDurably, replaceDurably } from "../cluster/credential_files.ts";
import { formatToken, type TokenPlace, TokenRegister } from "../cluster/join_token.ts";
import { loadAuthority } from "../cluster/load_authority.ts";
import { fingerprintOf } from "../cluster/membership_keys.ts";
import { makeDirectoryDurably, syncDirectory } from "../platform/durable_directory.ts";
import { RecordKeeper } from "./keeper.ts";
import { enrolSchema, WITNESS_NAME } from "./protocol.ts";

/** More clusters than one witness is for. */
const MOST_CLUSTERS = 1000;

/** Where a witness listens, and what others dial. */
export interface WitnessPlace {
  addresses: readonly string[];
  port: number;
}

/** PEM. */
export interface WitnessIdentity {
  authority: string;
  certificate: string;
  key: string;
  fingerprint: string;
}

const identityFile = v.object({
  version: v.literal(1),
  authority: v.string(),
  certificate: v.string(),
  key: v.string(),
});
const clusterFile = v.object({ version: v.literal(1), name: v.string(), authority: v.string() });

/** VAR/witness. */
export const witnessDirectory = (varDir: string): string => join(varDir, "witness");

/** The identity of the witness whose state lies in `varDir`, made where there is none. Throws when it is damaged. */
export async function witnessIdentity(varDir: string): Promise<WitnessIdentity> {
  const directory = witnessDirectory(varDir);
  const file = join(directory, "identity.json");
  if (!existsSync(file)) {
    makeDirectoryDurably(directory);
    const { createAuthority, createRequest, issueCertificate } = await loadAuthority();
    const authority = await createAuthority();
    const { request, key } = await createRequest(WITNESS_NAME);
    // The authority's own key is not kept: it signs once.
    const certificate = await issueCertificate(authority, WITNESS_NAME, request);
    const content = { version: 1, authority: authority.certificate, certificate, key };
    // Another process may be doing the same: the first counts, for both.
    createDurably(file, `${JSON.stringify(content)}\n`);
  }
  try {
    const { authority, certificate, key } = v.parse(identityFile, JSON.parse(readFileSync(file, "utf8")));
    return { authority, certificate, key, fingerprint: fingerprintOf(authority) };
  } catch (error) {
    throw new ClusterError(
      `${file} is damaged (${(error as Error).message}): restore it, or move ${directory} away and enrol every cluster anew`,
    );
  }
}

function tokenPlace(varDir: string, { fingerprint }: WitnessIdentity, place: WitnessPlace): TokenPlace {
  return { kind: "witness", directory: join(witnessDirectory(varDir), "tokens"), fingerprint, ...place };
}

/** A token with which one cluster may enrol: the text, and when it expires (wall clock, ms). */
export function createWitnessToken(
  varDir: string,
  identity: WitnessIdentity,
  place: WitnessPlace,
): { token: string; expires: number } {
  const token = new TokenRegister(tokenPlace(varDir, identity, place)).create();
  return { token: formatToken(token, "witness"), expires: token.expires };
}

/** One cluster that enrolled. */
export interface EnrolledCluster {
  name: string;
  /** PEM. */
  authority: string;
  keeper: RecordKeeper;
}

/** The clusters that a witness serves, by the fingerprint of their authority. */
export class Enrolment {
  readonly #directory: string;
  readonly #clusters = new Map<string, EnrolledCluster & { certificate: X509Certificate }>();

  /** Throws when what is on disk cannot be trusted. */
  constructor(
    private readonly varDir: string,
    private readonly identity: WitnessIdentity,
    private readonly clock: () => number,
  ) {
    this.#directory = join(witnessDirectory(varDir), "clusters");
    if (!existsSync(this.#directory)) return;
    for (const id of readdirSync(this.#directory)) {
      const file = join(this.#directory, id, "cluster.json");
      // Begun, and not finished before a crash: nobody was told.
      if (!existsSync(file)) continue;
      try {
        const { name, authority } = v.parse(clusterFile, JSON.parse(readFileSync(file, "utf8")));
        this.#add(id, name, authority);
      } catch (error) {
        throw new ClusterError(`${join(this.#directory, id)} cannot be trusted: ${(error as Error).message}`);
      }
    }
  }

  get clusters(): readonly EnrolledCluster[] {
    return [...this.#clusters.values()];
  }

  /** Which cluster, and which of its nodes, has this certificate; null: none. `raw` is DER, and its holder has shown that it has the key. */
  recognise(raw: Buffer): { id: string; node: string } | null {
    let certificate: X509Certificate;
    try {
      certificate = new X509Certificate(raw);
    } catch {
      return null;
    }
    for (const [id, cluster] of this.#clusters) {
      if (certificate.issuer !== cluster.certificate.subject || certificate.ca) continue;
      if (!certificate.verify(cluster.certificate.publicKey)) continue;
      const node = /^CN=([A-Za-z][A-Za-z0-9_-]{0,31})$/.exec(certificate.subject)?.[1];
      return node === undefined ? null : { id, node };
    }
    return null;
  }

  /** The cluster that `recognise` named, unless it has left since. */
  find(id: string): EnrolledCluster | null {
    return this.#clusters.get(id) ?? null;
  }

  /** Takes a cluster in, whose request carries a token's secret. The same cluster again is harmless. Throws ClusterError. */
  enrol(body: unknown): { cluster: string } {
    const found = v.safeParse(enrolSchema, body);
    if (!found.success) throw new ClusterError("that is no request to enrol");
    const { secret, cluster, authority } = found.output;
    let isAuthority = false;
    try {
      isAuthority = new X509Certificate(authority).ca;
    } catch {
      // It is no certificate.
    }
    if (!isAuthority) throw new ClusterError("that is no certificate of an authority");
    const id = idOf(authority);
    if (!this.#clusters.has(id) && this.#clusters.size >= MOST_CLUSTERS)
      throw new ClusterError(`this witness serves ${MOST_CLUSTERS} clusters, and no more`);
    const nowhere = { addresses: [], port: 0 };
    new TokenRegister(tokenPlace(this.varDir, this.identity, nowhere)).redeem(secret);
    if (!this.#clusters.has(id)) {
      const directory = join(this.#directory, id);
      // What a request left that was under way when this cluster last left.
      rmSync(directory, { recursive: true, force: true });
      makeDirectoryDurably(directory);
      const content = { version: 1, name: cluster, authority };
      replaceDurably(join(directory, "cluster.json"), `${JSON.stringify(content)}\n`);
      this.#add(id, cluster, authority);
    }
    return { cluster };
  }

  /** Forgets a cluster and its records, durably: it asked for it. */
  leave(id: string): void {
    const directory = join(this.#directory, id);
    // First the file without which the rest does not count.
    rmSync(join(directory, "cluster.json"), { force: true });
    syncDirectory(directory);
    rmSync(directory, { recursive: true, force: true });
    syncDirectory(this.#directory);
    this.#clusters.delete(id);
  }

  #add(id: string, name: string, authority: string): void {
    const keeper = new RecordKeeper(join(this.#directory, id, "modules"), this.clock);
    this.#clusters.set(id, { name, authority, keeper, certificate: new X509Certificate(authority) });
  }
}

/** A directory's name for an authority. */
const idOf = (authority: string): string =>
  createHash("sha256").update(fingerprintOf(authority)).digest("hex").slice(0, 40);
