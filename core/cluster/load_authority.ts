/**
 * The authority, with what the certificate library needs to be there before it loads.
 *
 * Two imports one after the other: neither the runtime nor the bundler keeps the order of scripts that one module
 * imports. And late: most starts of this program issue no certificate.
 */
/** Loads core/cluster/authority.ts. */
export async function loadAuthority(): Promise<typeof import("./authority.ts")> {
  await import("reflect-metadata");
  return await import("./authority.ts");
}
