/**
 * Moves a secondary private address or a route in Azure, with the virtual machine's managed identity.
 */
import { type ApiError, call, jsonRefusal } from "./api.ts";
import type { Place, Provider } from "./move.ts";

const TOKEN_VERSION = "2018-02-01";
const METADATA_VERSION = "2021-02-01";
const NETWORK_VERSION = "2023-09-01";
/** Another change of the same thing is under way, or came between our look and our change. */
const AGAIN = ["AnotherOperationInProgress", "RetryableError", "ServerBusy"];

interface Configuration {
  name: string;
  properties: { privateIPAddress?: string; subnet?: { id: string }; [key: string]: unknown };
}
/** As far as it is looked at; the rest is sent back as it came. */
interface NetworkInterface {
  id: string;
  etag?: string;
  properties: {
    macAddress?: string;
    provisioningState?: string;
    ipConfigurations: Configuration[];
    [key: string]: unknown;
  };
}
interface Route {
  properties: { nextHopIpAddress?: string; provisioningState?: string };
}

/** What this virtual machine is, and how it speaks to the resource manager. */
interface Machine {
  /** `/subscriptions/…/resourceGroups/…` */
  group: string;
  mac: string;
  address: string;
  ask<Answer>(what: {
    name: string;
    permission: string;
    path: string;
    body?: unknown;
    etag?: string;
  }): Promise<Answer>;
}

async function lookAround({ api, metadata, patience }: Place): Promise<Machine> {
  const read = async (name: string, path: string) =>
    JSON.parse(
      await call(
        { name, url: `${metadata}${path}`, headers: () => ({ metadata: "true" }), refusal: jsonRefusal },
        patience,
      ),
    );
  const instance = await read(
    "the instance's metadata",
    `/metadata/instance?api-version=${METADATA_VERSION}`,
  );
  const resource = encodeURIComponent(`${api}/`);
  const { access_token: token } = await read(
    "the token of the managed identity",
    `/metadata/identity/oauth2/token?api-version=${TOKEN_VERSION}&resource=${resource}`,
  );
  const { subscriptionId, resourceGroupName } = instance.compute;
  const [card] = instance.network.interface;
  return {
    group: `/subscriptions/${subscriptionId}/resourceGroups/${resourceGroupName}`,
    mac: plainMac(card.macAddress),
    address: card.ipv4.ipAddress[0].privateIpAddress,
    async ask({ name, permission, path, body, etag }) {
      const headers = {
        authorization: `Bearer ${token}`,
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...(etag === undefined ? {} : { "if-match": etag }),
      };
      const text = await call(
        {
          ...{ name, permission, method: body === undefined ? "GET" : "PUT", headers: () => headers },
          ...{ url: `${api}${path}${path.includes("?") ? "&" : "?"}api-version=${NETWORK_VERSION}` },
          ...{ refusal: jsonRefusal, again: AGAIN },
          ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        },
        patience,
      );
      return JSON.parse(text);
    },
  };
}

const plainMac = (mac = ""): string => mac.replaceAll(/[-:]/g, "").toUpperCase();

const holds = (card: NetworkInterface, address: string): boolean =>
  card.properties.ipConfigurations.some(({ properties }) => properties.privateIPAddress === address);

/** Writes a network interface back with other addresses, and waits until it is so. */
async function configure(
  card: NetworkInterface,
  ipConfigurations: Configuration[],
  machine: Machine,
  { patience }: Place,
): Promise<void> {
  await machine.ask({
    name: "Network Interfaces - Create Or Update",
    permission: "Microsoft.Network/networkInterfaces/write and virtualNetworks/subnets/join/action",
    path: card.id,
    body: { ...card, properties: { ...card.properties, ipConfigurations } },
    ...(card.etag === undefined ? {} : { etag: card.etag }),
  });
  await settled<NetworkInterface>(card.id, "Microsoft.Network/networkInterfaces/read", machine, patience);
}

/** Waits for the end of a change by looking at the thing itself: that needs no permission beyond it. */
async function settled<Resource extends { properties: { provisioningState?: string } }>(
  path: string,
  permission: string,
  machine: Machine,
  patience: Place["patience"],
): Promise<void> {
  await patience.until(`the change of ${path} is done`, async () => {
    const { properties } = await machine.ask<Resource>({ name: `GET ${path}`, permission, path });
    if (properties.provisioningState === "Failed")
      throw new Error(`the change of ${path} failed: its activity log in the portal says why`);
    return properties.provisioningState === "Succeeded" ? true : null;
  });
}

/** One look, one change. True when it is done; false when somebody else changed something meanwhile. */
async function tryToTake(address: string, machine: Machine, place: Place): Promise<boolean> {
  const { value: cards } = await machine.ask<{ value: NetworkInterface[] }>({
    name: "Network Interfaces - List",
    permission: "Microsoft.Network/networkInterfaces/read",
    path: `${machine.group}/providers/Microsoft.Network/networkInterfaces`,
  });
  const own = cards.find(({ properties }) => plainMac(properties.macAddress) === machine.mac);
  if (!own)
    throw new Error(`no network interface in ${machine.group} has this machine's MAC address ${machine.mac}`);
  if (holds(own, address)) {
    await settled(own.id, "Microsoft.Network/networkInterfaces/read", machine, place.patience);
    return true;
  }
  try {
    const holder = cards.find((card) => holds(card, address));
    if (holder) {
      const left = holder.properties.ipConfigurations.filter(
        ({ properties }) => properties.privateIPAddress !== address,
      );
      await configure(holder, left, machine, place);
    }
    const [first] = own.properties.ipConfigurations;
    const added: Configuration = {
      name: `holdfast-${address.replaceAll(".", "-")}`,
      properties: {
        privateIPAddress: address,
        privateIPAllocationMethod: "Static",
        privateIPAddressVersion: "IPv4",
        primary: false,
        ...(first?.properties.subnet ? { subnet: first.properties.subnet } : {}),
      },
    };
    await configure(own, [...own.properties.ipConfigurations, added], machine, place);
    return true;
  } catch (error) {
    const { status, code } = error as Partial<ApiError>;
    if (status === 412 || code === "PrivateIPAddressIsAllocated") return false;
    throw error;
  }
}

/** See Provider. */
export const provider: Provider = {
  async takeAddress(address, place) {
    const machine = await lookAround(place);
    await place.patience.until(`${address} is free`, async () =>
      (await tryToTake(address, machine, place)) ? true : null,
    );
  },

  async takeRoute(address, place) {
    const [table, route] = place.route.split("/");
    if (!table || !route) throw new Error("vars.route names no route, in the form TABLE/ROUTE");
    const machine = await lookAround(place);
    const path = `${machine.group}/providers/Microsoft.Network/routeTables/${table}/routes/${route}`;
    const permission = "Microsoft.Network/routeTables/routes/read";
    const now = await machine
      .ask<Route>({ name: "Routes - Get", permission, path })
      .catch((error: ApiError) => {
        if (error.status === 404 && error.code !== "ParentResourceNotFound") return null;
        throw error;
      });
    if (now?.properties.nextHopIpAddress !== machine.address)
      await machine.ask({
        name: "Routes - Create Or Update",
        permission: "Microsoft.Network/routeTables/routes/write",
        path,
        body: {
          properties: {
            addressPrefix: `${address}/32`,
            nextHopType: "VirtualAppliance",
            nextHopIpAddress: machine.address,
          },
        },
      });
    await settled<Route>(path, permission, machine, place.patience);
  },
};
