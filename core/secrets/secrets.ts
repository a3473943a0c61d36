/** The door of core/secrets: what a node knows of secrets; core/daemon/secrets brings the nodes together. */
export { MAX_SECRET_BYTES } from "./seal.ts";
export {
  askSchema,
  offerSchema,
  type SecretAsk,
  type SecretOffer,
  SecretRefused,
  SecretStore,
  secretKeySchema,
  type TakenSecret,
} from "./store.ts";
export { versionWord } from "./versions.ts";
