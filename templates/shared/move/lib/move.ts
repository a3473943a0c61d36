/**
 * Takes what clients reach the application by, a secondary private address or a route, to this machine; `vars.move` says which.
 *
 * The provider hands it over in one step and has the last word, so the former holder need not be alive. What the operating system has to know is
 * done after that, and undone first.
 */
import { $, log } from "holdfast";
import { Patience } from "./api.ts";
import { provider } from "./provider.ts";

/** What a provider can move. Each is harmless when it was done before, and throws with the reason when it cannot be done. */
export interface Provider {
  /** Makes `address` one of this machine's. */
  takeAddress(address: string, where: Place): Promise<void>;
  /** Makes this machine the next hop of the routes to `address`/32. */
  takeRoute(address: string, where: Place): Promise<void>;
}

/** What a provider needs to know beside the address. */
export interface Place {
  /** `vars.route`. */
  route: string;
  /** Where the API and the metadata of the instance are: their addresses, without a slash at the end. */
  api: string;
  metadata: string;
  patience: Patience;
}

type Vars = Readonly<Record<string, string>>;

const SECOND_MS = 1000;
/** An address outside of the network lives here. */
const LOOPBACK = "lo";

/** Returns "" where the load balancer alone decides. Throws when `vars.move` is no word that is known, or there is no address. */
function addressOf(vars: Vars): string {
  const { move = "none", address = "" } = vars;
  if (move === "none") return "";
  if (move !== "address" && move !== "route")
    throw new Error(`vars.move is ${JSON.stringify(move)}: it can be none, address or route`);
  if (!/^\d{1,3}(\.\d{1,3}){3}$/.test(address))
    throw new Error(
      `vars.address is ${JSON.stringify(address)}: it must be an IPv4 address, without a prefix length`,
    );
  return address;
}

/** Before the application starts. */
export async function take(vars: Vars, signal: AbortSignal): Promise<void> {
  const address = addressOf(vars);
  if (address === "") return;
  const started = performance.now();
  const { route = "", api = "", metadata = "", patience = "60" } = vars;
  const place = { route, api, metadata, patience: new Patience(Number(patience) * SECOND_MS, signal) };
  if (vars["move"] === "address") await provider.takeAddress(address, place);
  else await provider.takeRoute(address, place);
  await $`ip address replace ${`${address}/32`} dev ${await deviceFor(vars)}`;
  log(`${address} leads to this machine, after ${Math.round(performance.now() - started)} ms`);
}

/** After the application has stopped, and before it starts anywhere: this machine does not call the address its own. */
export async function drop(vars: Vars): Promise<void> {
  const address = addressOf(vars);
  if (address === "") return;
  await $`ip address delete ${`${address}/32`} dev ${await deviceFor(vars)}`.nothrow().quiet();
}

/** The network device that an address of the machine's network belongs to: the one of the default route, unless `vars.interface` names it. */
async function deviceFor(vars: Vars): Promise<string> {
  if (vars["move"] === "route") return LOOPBACK;
  if (vars["interface"]) return vars["interface"];
  const route = await $`ip -o route show default`.text();
  const device = / dev (\S+)/.exec(route)?.[1];
  if (device === undefined)
    throw new Error("this machine has no default route: name the device in vars.interface");
  return device;
}
