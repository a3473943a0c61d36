/**
 * Git over http and https for isomorphic-git, which trusts the authorities that the machine trusts: a template often lies on a server of one's own,
 * with a certificate of one's own authority.
 */
import { existsSync, readFileSync } from "node:fs";
import type { GitHttpRequest, GitHttpResponse } from "isomorphic-git";

/** Where distributions keep the authorities that the machine trusts. `SSL_CERT_FILE` goes first, as with OpenSSL. */
const BUNDLES = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/ssl/cert.pem",
];

/** Their certificates, PEM; undefined where the machine has no list: the program's own counts then. */
function trusted(): string | undefined {
  const file = process.env["SSL_CERT_FILE"] ?? BUNDLES.find((one) => existsSync(one));
  return file === undefined ? undefined : readFileSync(file, "utf8");
}

/** One request of isomorphic-git's. Rejects when nothing answers, or an authority is unknown. */
export async function request({
  url,
  method = "GET",
  headers = {},
  body,
}: GitHttpRequest): Promise<GitHttpResponse> {
  const parts: Uint8Array[] = [];
  for await (const part of body ?? []) parts.push(part);
  const ca = trusted();
  const answer = await fetch(url, {
    method,
    headers,
    ...(parts.length === 0 ? {} : { body: Buffer.concat(parts) }),
    ...(ca === undefined ? {} : { tls: { ca } }),
  });
  return {
    url: answer.url,
    method,
    headers: Object.fromEntries(answer.headers),
    statusCode: answer.status,
    statusMessage: answer.statusText,
    body: piecesOf(answer),
  };
}

async function* piecesOf(answer: Response): AsyncIterableIterator<Uint8Array> {
  yield new Uint8Array(await answer.arrayBuffer());
}
