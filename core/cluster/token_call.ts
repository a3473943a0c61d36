/**
 * A call to whoever made a token, by who is not known there yet: the token's addresses are tried, the authority is proved by the token's fingerprint, and only
 * then is anything said.
 */
import * as v from "valibot";
import { ClusterError, JoinRefused } from "./credential_files.ts";
import type { JoinToken } from "./join_token.ts";
import { fingerprintOf } from "./membership_keys.ts";
import { readBounded, tlsCall } from "./tls_call.ts";

/** Where a server shows the certificate of its authority to whoever asks. */
export const AUTHORITY_PATH = "/authority";
/** Most bytes of what a stranger sends. */
export const MAX_JOIN_BYTES = 16 * 1024;
const MAX_ANSWER_BYTES = 1 << 20;
const ADDRESS_TIMEOUT_MS = 10_000;

const refusal = v.object({ message: v.pipe(v.string(), v.maxLength(2000)) });

/**
 * Posts `body` to `path` and returns the answer's document.
 * Throws ClusterError when no address answers as the token's maker, JoinRefused with its words when it refuses.
 */
export async function callByToken(token: JoinToken, path: string, body: object): Promise<unknown> {
  const failures: string[] = [];
  for (const address of token.addresses) {
    let authority: string;
    try {
      authority = await fetchAuthority(token, address, AbortSignal.timeout(ADDRESS_TIMEOUT_MS));
    } catch (error) {
      failures.push(`${address}: ${error instanceof Error ? error.message : String(error)}`);
      continue;
    }
    return await post(token, address, authority, path, JSON.stringify(body));
  }
  throw new ClusterError(
    `no address of the token answers as its maker (port ${token.port}): ${failures.join("; ")}`,
  );
}

/** The certificate of the authority at an address, PEM. Throws when it does not fit the fingerprint. */
export async function fetchAuthority(
  { port, fingerprint }: Pick<JoinToken, "port" | "fingerprint">,
  address: string,
  signal: AbortSignal,
): Promise<string> {
  const response = await tlsCall({
    address,
    port,
    path: AUTHORITY_PATH,
    method: "GET",
    authority: null,
    expect: null,
    signal,
  });
  const text = await readBounded(response.body, MAX_JOIN_BYTES);
  if (response.status !== 200) throw new ClusterError(`answered ${response.status}`);
  if (fingerprintOf(text) !== fingerprint)
    throw new ClusterError("is another, or an impostor: its authority does not fit the token's fingerprint");
  return text;
}

async function post(
  token: JoinToken,
  address: string,
  authority: string,
  path: string,
  body: string,
): Promise<unknown> {
  let status: number;
  let value: unknown;
  try {
    const response = await tlsCall({
      address,
      port: token.port,
      path,
      method: "POST",
      body,
      authority,
      expect: null,
      signal: AbortSignal.timeout(ADDRESS_TIMEOUT_MS),
    });
    status = response.status;
    value = JSON.parse(await readBounded(response.body, MAX_ANSWER_BYTES));
  } catch (error) {
    throw new ClusterError(
      `asking ${address} failed: ${error instanceof Error ? error.message : String(error)} (the token may be used up: make a new one)`,
    );
  }
  if (status === 200) return value;
  const refused = v.safeParse(refusal, value);
  throw new JoinRefused(refused.success ? refused.output.message : `it answered ${status}`);
}
