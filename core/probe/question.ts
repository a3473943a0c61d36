/**
 * What a load balancer asks, read from the bytes of one connection. Pure.
 *
 * Anybody who reaches the port may write to it, so nothing is interpreted beyond the first line: HTTP/1.x (RFC 9112), GET or HEAD, one path. Header
 * fields are only waited for, since an answer in the middle of a request may be lost by its sender.
 */

/** So much of a request is read, bytes. */
export const MAX_REQUEST_BYTES = 2048;

/** What was asked so far. `refused` is an HTTP status. */
export type Question =
  | { kind: "unfinished" }
  | { kind: "module"; name: string }
  | { kind: "refused"; status: 400 | 404 | 405 | 431 };

const METHOD = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}$/;
const VERSION = /^HTTP\/1\.\d$/;
/** Also in the absolute form, that a server must accept; a query changes nothing. */
const PROBE = /^(?:http:\/\/[^/\s]*)?\/probe\/([A-Za-z][A-Za-z0-9_-]{0,31})(?:\?\S*)?$/;

const refused = (status: Extract<Question, { kind: "refused" }>["status"]): Question => ({
  kind: "refused",
  status,
});

/** Reads what has come so far, as latin1. */
export function readQuestion(text: string): Question {
  const end = text.search(/\r?\n\r?\n/);
  if (end === -1) {
    if (text.length >= MAX_REQUEST_BYTES) return refused(431);
    // What cannot become a request (a TLS handshake, noise) is not waited for.
    return /^(?:[\t\r\n\x20-\x7e\x80-\xff])*$/.test(text) ? { kind: "unfinished" } : refused(400);
  }
  if (end >= MAX_REQUEST_BYTES) return refused(431);
  const words = text.slice(0, end).split(/\r?\n/, 1)[0]!.split(" ");
  const [method = "", target = "", version = ""] = words;
  if (words.length !== 3 || !METHOD.test(method) || !VERSION.test(version)) return refused(400);
  const name = PROBE.exec(target)?.[1];
  if (name === undefined) return refused(404);
  if (method !== "GET" && method !== "HEAD") return refused(405);
  return { kind: "module", name };
}
