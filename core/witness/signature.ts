/**
 * AWS Signature Version 4 for S3: every header of the request is signed, and its body. See "Authenticating Requests (AWS Signature Version 4)" of the
 * Amazon S3 API reference.
 */
import { createHash, createHmac } from "node:crypto";

/** What signs. */
export interface SigningKey {
  accessKey: string;
  secretKey: string;
  region: string;
}

/** What is signed: `path` has only characters that need no encoding, and there is no query. `headers`: names in small letters. */
export interface Signable {
  method: string;
  host: string;
  path: string;
  headers: Readonly<Record<string, string>>;
  body: string;
}

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");
const hmac = (key: string | Buffer, text: string): Buffer => createHmac("sha256", key).update(text).digest();

/** The headers to send, `host` apart. `time`: ms since 1970, as the server's clock has it. */
export function signed(request: Signable, key: SigningKey, time: number): Record<string, string> {
  // 2026-11-27T00:30:00.000Z becomes 20261127T003000Z.
  const stamp = new Date(time).toISOString().replace(/[-:]|\.\d+/g, "");
  const day = stamp.slice(0, 8);
  const bodyHash = sha256(request.body);
  const headers: Record<string, string> = {
    ...request.headers,
    "x-amz-content-sha256": bodyHash,
    "x-amz-date": stamp,
  };
  const names = ["host", ...Object.keys(headers)].sort((a, b) => (a < b ? -1 : 1));
  const canonical = [
    request.method,
    request.path,
    "",
    ...names.map((name) => `${name}:${(name === "host" ? request.host : headers[name]!).trim()}`),
    "",
    names.join(";"),
    bodyHash,
  ].join("\n");
  const scope = `${day}/${key.region}/s3/aws4_request`;
  const dayKey = hmac(`AWS4${key.secretKey}`, day);
  const signingKey = hmac(hmac(hmac(dayKey, key.region), "s3"), "aws4_request");
  const toSign = ["AWS4-HMAC-SHA256", stamp, scope, sha256(canonical)].join("\n");
  const signature = hmac(signingKey, toSign).toString("hex");
  headers["authorization"] =
    `AWS4-HMAC-SHA256 Credential=${key.accessKey}/${scope}, SignedHeaders=${names.join(";")}, Signature=${signature}`;
  return headers;
}
