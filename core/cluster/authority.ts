/**
 * The cluster's own certificate authority: ECDSA P-256, one for each cluster, known to every member and to nobody else.
 *
 * Certificates are valid from 1970 and for decades: a machine that boots with a clock at zero, or hours off, must
 * still find its peer. Membership ends by cluster.yaml, not by a date.
 */
import * as x509 from "@peculiar/x509";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const NOT_BEFORE = new Date(0);
const VALID_YEARS = 50;

/** A certificate and its private key, both PEM. */
export interface KeyedCertificate {
  certificate: string;
  key: string;
}

function notAfter(): Date {
  // A clock far in the past must not make a certificate that is over when the clock is right again.
  const year = Math.max(new Date().getUTCFullYear(), 2026) + VALID_YEARS;
  return new Date(Date.UTC(year, 0, 1));
}

/** Positive and 16 bytes long, as RFC 5280 wants it. */
function serialNumber(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[0] = (bytes[0]! & 0x3f) | 0x40;
  return Buffer.from(bytes).toString("hex");
}

async function newKeys(): Promise<CryptoKeyPair> {
  return (await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"])) as CryptoKeyPair;
}

async function keyToPem(key: CryptoKey): Promise<string> {
  return x509.PemConverter.encode(await crypto.subtle.exportKey("pkcs8", key), "PRIVATE KEY");
}

/** Makes a new authority. */
export async function createAuthority(): Promise<KeyedCertificate> {
  const keys = await newKeys();
  const mark = Buffer.from(crypto.getRandomValues(new Uint8Array(4))).toString("hex");
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: `CN=Holdfast authority ${mark}`,
    notBefore: NOT_BEFORE,
    notAfter: notAfter(),
    keys,
    signingAlgorithm: ALGORITHM,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certificate: certificate.toString("pem"), key: await keyToPem(keys.privateKey) };
}

/** A new private key and a request for a certificate, signed by that key. Both PEM. */
export async function createRequest(node: string): Promise<{ request: string; key: string }> {
  const keys = await newKeys();
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: `CN=${node}`,
    keys,
    signingAlgorithm: ALGORITHM,
  });
  return { request: request.toString("pem"), key: await keyToPem(keys.privateKey) };
}

/**
 * Signs the request's public key as `node`; whatever else the request says is not believed.
 * Throws when the request is malformed, not signed by its own key, or its key is of another kind.
 */
export async function issueCertificate(
  authority: KeyedCertificate,
  node: string,
  request: string,
): Promise<string> {
  const wanted = new x509.Pkcs10CertificateRequest(request);
  if (!(await wanted.verify())) throw new Error("the request is not signed by its own key");
  const publicKey = await wanted.publicKey.export(ALGORITHM, ["verify"]);
  const signer = new x509.X509Certificate(authority.certificate);
  const signingKey = await crypto.subtle.importKey(
    "pkcs8",
    x509.PemConverter.decodeFirst(authority.key),
    ALGORITHM,
    false,
    ["sign"],
  );
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: `CN=${node}`,
    issuer: signer.subject,
    notBefore: NOT_BEFORE,
    notAfter: notAfter(),
    publicKey,
    signingKey,
    signingAlgorithm: ALGORITHM,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([
        x509.ExtendedKeyUsage.serverAuth,
        x509.ExtendedKeyUsage.clientAuth,
      ]),
      new x509.SubjectAlternativeNameExtension([{ type: "dns", value: node }]),
      await x509.AuthorityKeyIdentifierExtension.create(signer),
    ],
  });
  return certificate.toString("pem");
}
