/**
 * Moves an alias address or a route in Google Cloud, with the instance's own service account.
 */
import { type ApiError, call, jsonRefusal } from "./api.ts";
import type { Place, Provider } from "./move.ts";

/** A quota that was used up, and another change of the same thing that is under way. */
const AGAIN = ["rateLimitExceeded", "userRateLimitExceeded", "resourceNotReady", "backendError"];
const DEFAULT_PRIORITY = 1000;

interface AliasRange {
  ipCidrRange: string;
  subnetworkRangeName?: string;
}
interface Card {
  name: string;
  fingerprint: string;
  aliasIpRanges?: AliasRange[];
}
interface Instance {
  name: string;
  networkInterfaces: Card[];
  selfLink: string;
}
interface Operation {
  name: string;
  zone?: string;
  status: "PENDING" | "RUNNING" | "DONE";
  error?: { errors: { code: string; message: string }[] };
}
interface Route {
  nextHopInstance?: string;
  destRange: string;
  network: string;
  priority: number;
  tags?: string[];
}

/** What this instance is, and how it speaks to the API. */
interface Machine {
  name: string;
  /** `/compute/v1/projects/…`, and the zone below it. */
  project: string;
  zone: string;
  /** Its network, `projects/…/networks/…`. */
  network: string;
  ask<Answer>(what: {
    name: string;
    permission: string;
    path: string;
    method?: string;
    body?: unknown;
  }): Promise<Answer>;
}

/** An operation that was begun, and ended badly. */
class OperationError extends Error {
  readonly code: string;

  constructor(what: string, { code, message }: { code: string; message: string }) {
    super(`${what} failed (${code}): ${message}`);
    this.code = code;
  }
}

async function lookAround({ api, metadata, patience }: Place): Promise<Machine> {
  const read = (path: string): Promise<string> =>
    call(
      {
        ...{ name: `metadata ${path}`, url: `${metadata}/computeMetadata/v1/${path}` },
        ...{ headers: () => ({ "metadata-flavor": "Google" }), refusal: jsonRefusal },
      },
      patience,
    );
  const { access_token: token } = JSON.parse(await read("instance/service-accounts/default/token"));
  const project = `/compute/v1/projects/${await read("project/project-id")}`;
  const last = (path: string): string => path.slice(path.lastIndexOf("/") + 1);
  return {
    name: await read("instance/name"),
    project,
    zone: `${project}/zones/${last(await read("instance/zone"))}`,
    network: (await read("instance/network-interfaces/0/network")).replace("/networks/", "/global/networks/"),
    async ask({ name, permission, path, method = "GET", body }) {
      const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
      const url = `${api}${path}`;
      const text = await call(
        {
          ...{ name, permission, method, url, headers: () => headers, refusal: jsonRefusal, again: AGAIN },
          ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        },
        patience,
      );
      return JSON.parse(text);
    },
  };
}

/** Begins a change, and waits for its end. */
async function change(
  what: { name: string; permission: string; path: string; method: string; body?: unknown },
  machine: Machine,
  { patience }: Place,
): Promise<void> {
  const begun = await machine.ask<Operation>(what);
  const place = begun.zone === undefined ? "global" : begun.zone.slice(begun.zone.indexOf("zones/"));
  const path = `${machine.project}/${place}/operations/${begun.name}`;
  const kind = begun.zone === undefined ? "globalOperations" : "zoneOperations";
  const ended = await patience.until(`${what.name} is done`, async () => {
    const now = await machine.ask<Operation>({
      name: `${kind}.get`,
      permission: `compute.${kind}.get`,
      path,
    });
    return now.status === "DONE" ? now : null;
  });
  const failure = ended.error?.errors[0];
  if (failure) throw new OperationError(what.name, failure);
}

const has = (card: Card, range: string): boolean =>
  card.aliasIpRanges?.some(({ ipCidrRange }) => ipCidrRange === range) === true;

/** Writes the alias ranges of an instance's network interface. `path` is the instance's. */
async function setRanges(
  path: string,
  card: Card,
  aliasIpRanges: AliasRange[],
  machine: Machine,
  place: Place,
): Promise<void> {
  await change(
    {
      name: "instances.updateNetworkInterface",
      permission: "compute.instances.updateNetworkInterface, and compute.subnetworks.use",
      method: "PATCH",
      path: `${path}/updateNetworkInterface?networkInterface=${card.name}`,
      body: { fingerprint: card.fingerprint, aliasIpRanges },
    },
    machine,
    place,
  );
}

/** The instance that has the range, or null. */
async function holderOf(range: string, machine: Machine): Promise<{ path: string; card: Card } | null> {
  for (let page = ""; ; ) {
    const answer = await machine.ask<{
      items?: Record<string, { instances?: Instance[] }>;
      nextPageToken?: string;
    }>({
      name: "instances.aggregatedList",
      permission: "compute.instances.list",
      path: `${machine.project}/aggregated/instances?maxResults=500${page}`,
    });
    for (const { instances = [] } of Object.values(answer.items ?? {}))
      for (const { selfLink, networkInterfaces } of instances)
        for (const card of networkInterfaces)
          if (has(card, range)) return { path: selfLink.slice(selfLink.indexOf("/compute/")), card };
    if (answer.nextPageToken === undefined) return null;
    page = `&pageToken=${encodeURIComponent(answer.nextPageToken)}`;
  }
}

/** One look, one change. True when it is done; false when somebody else changed something meanwhile. */
async function tryToTake(range: string, machine: Machine, place: Place): Promise<boolean> {
  const path = `${machine.zone}/instances/${machine.name}`;
  const own = await machine.ask<Instance>({
    name: "instances.get",
    permission: "compute.instances.get",
    path,
  });
  const [card] = own.networkInterfaces;
  if (!card) throw new Error("this instance has no network interface");
  if (has(card, range)) return true;
  try {
    const holder = await holderOf(range, machine);
    if (holder) {
      const left = holder.card.aliasIpRanges!.filter(({ ipCidrRange }) => ipCidrRange !== range);
      await setRanges(holder.path, holder.card, left, machine, place);
    }
    await setRanges(path, card, [...(card.aliasIpRanges ?? []), { ipCidrRange: range }], machine, place);
    return true;
  } catch (error) {
    const { status, code } = error as Partial<ApiError>;
    if (status === 412 || code === "IP_IN_USE_BY_ANOTHER_RESOURCE") return false;
    throw error;
  }
}

/** See Provider. */
export const provider: Provider = {
  async takeAddress(address, place) {
    const machine = await lookAround(place);
    await place.patience.until(`${address} is free`, async () =>
      (await tryToTake(`${address}/32`, machine, place)) ? true : null,
    );
  },

  async takeRoute(address, place) {
    const { route } = place;
    if (route === "") throw new Error("vars.route names no route");
    const machine = await lookAround(place);
    const path = `${machine.project}/global/routes`;
    const own = `${machine.zone}/instances/${machine.name}`;
    const now = await machine
      .ask<Route>({ name: "routes.get", permission: "compute.routes.get", path: `${path}/${route}` })
      .catch((error: ApiError) => {
        if (error.status === 404) return null;
        throw error;
      });
    if (now?.nextHopInstance?.endsWith(own.slice("/compute/v1".length)) === true) return;
    // A route cannot be changed, only made anew.
    if (now !== null)
      await change(
        {
          name: "routes.delete",
          permission: "compute.routes.delete",
          method: "DELETE",
          path: `${path}/${route}`,
        },
        machine,
        place,
      ).catch((error: Partial<ApiError>) => {
        if (error.status !== 404) throw error;
      });
    const { priority = DEFAULT_PRIORITY, tags, network = machine.network } = now ?? {};
    const body = {
      ...{ name: route, destRange: `${address}/32`, network, priority, ...(tags ? { tags } : {}) },
      nextHopInstance: own.slice("/compute/v1/".length),
    };
    const permission = "compute.routes.create, compute.networks.updatePolicy and compute.instances.use";
    await change({ name: "routes.insert", permission, method: "POST", path, body }, machine, place);
  },
};
