/** AWS Signature Version 4, for calls whose parameters are in the body. */

/** What the instance's role may sign with, for some hours. */
export interface Credentials {
  id: string;
  secret: string;
  /** Empty for credentials that do not end. */
  token: string;
}

/** What is signed. Header names in small letters. */
export interface Signable {
  method: string;
  url: string;
  headers: Record<string, string>;
  body: string;
}

const encoder = new TextEncoder();

const hex = (bytes: ArrayBuffer): string =>
  [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, "0")).join("");

const sha256 = async (text: string): Promise<string> =>
  hex(await crypto.subtle.digest("SHA-256", encoder.encode(text)));

async function hmac(key: ArrayBuffer | Uint8Array<ArrayBuffer>, text: string): Promise<ArrayBuffer> {
  const made = await crypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return await crypto.subtle.sign("HMAC", made, encoder.encode(text));
}

/** The headers of the request, signed: to be sent as they are. */
export async function sign(
  request: Signable,
  scope: { region: string; service: string; credentials: Credentials; at: Date },
): Promise<Record<string, string>> {
  const { region, service, credentials, at } = scope;
  const { host, pathname, searchParams } = new URL(request.url);
  const time = at.toISOString().replaceAll(/[-:]|\.\d+/g, "");
  const headers: Record<string, string> = { ...request.headers, host, "x-amz-date": time };
  if (credentials.token !== "") headers["x-amz-security-token"] = credentials.token;
  const names = Object.keys(headers).sort((one, other) => (one < other ? -1 : 1));
  searchParams.sort();
  const canonical = [
    request.method,
    pathname,
    searchParams.toString().replaceAll("+", "%20"),
    ...names.map((name) => `${name}:${headers[name]!.trim()}`),
    "",
    names.join(";"),
    await sha256(request.body),
  ].join("\n");
  const within = `${time.slice(0, 8)}/${region}/${service}/aws4_request`;
  const text = ["AWS4-HMAC-SHA256", time, within, await sha256(canonical)].join("\n");
  let key = await hmac(encoder.encode(`AWS4${credentials.secret}`), time.slice(0, 8));
  for (const part of [region, service, "aws4_request"]) key = await hmac(key, part);
  const signature = hex(await hmac(key, text));
  const credential = `Credential=${credentials.id}/${within}`;
  headers["authorization"] =
    `AWS4-HMAC-SHA256 ${credential}, SignedHeaders=${names.join(";")}, Signature=${signature}`;
  delete headers["host"]; // Whoever sends it writes it itself.
  return headers;
}
