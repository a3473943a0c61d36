/**
 * Clouds, a row each: two templates come of one, a mirror and a farm behind the provider's load balancer.
 */
import type { Row } from "./catalog.ts";

/** What is different from one provider to the next. */
interface Provider {
  /** Of the templates, and of the part that moves addresses and routes. */
  name: string;
  title: string;
  /** The load balancer, in the middle of a sentence. */
  balancer: string;
  /** How its probes are set up, as sentences. */
  health: string;
  /** Where its probes come from, in the middle of a sentence. */
  probes: string;
  /** What `vars.route` holds, for the comment beside it. */
  route: string;
  /** The provider's API. */
  api: string;
  /** What has stood in for the provider (no full stop). */
  standIn: string;
}

/** Where an instance asks about itself: the same address at every provider. */
const METADATA = "http://169.254.169.254";

const PROVIDERS: readonly Provider[] = [
  {
    name: "aws",
    title: "AWS",
    balancer: "a Network Load Balancer",
    health:
      "a target group of type instance with your application's port, and a health check with protocol HTTP, port 9503, path /probe/NAME, success code 200, interval 5 s and threshold 2.",
    probes: "the load balancer's private addresses",
    route: "route tables, such as rtb-0123456789abcdef0",
    api: "https://ec2.REGION.amazonaws.com",
    standIn:
      "the hooks that move an address or a route have met a recorded stand-in of EC2 and its metadata, which checks signatures, tokens and parameters as their manuals say, and no AWS",
  },
  {
    name: "azure",
    title: "Azure",
    balancer: "a Standard Load Balancer",
    health:
      "a backend pool with all nodes, and a health probe with protocol HTTP, port 9503, path /probe/NAME, interval 5 s and threshold 2.",
    probes: "the service tag AzureLoadBalancer (168.63.129.16)",
    route: "TABLE/ROUTE",
    api: "https://management.azure.com",
    standIn:
      "the hooks that move an address or a route have met a recorded stand-in of the resource manager and the metadata service, which checks tokens, versions, etags and bodies as their manuals say, and no Azure",
  },
  {
    name: "gcp",
    title: "Google Cloud",
    balancer: "a passthrough Network Load Balancer",
    health:
      "an instance group with all nodes as its backend, and a health check with protocol HTTP, port 9503, request path /probe/NAME, interval 5 s and unhealthy threshold 2.",
    probes: "35.191.0.0/16, 130.211.0.0/22, 209.85.152.0/22 and 209.85.204.0/22",
    route: "the route's name",
    api: "https://compute.googleapis.com",
    standIn:
      "the hooks that move an address or a route have met a recorded stand-in of Compute Engine and its metadata, which checks tokens, fingerprints and bodies as their manuals say, and no Google Cloud",
  },
  {
    name: "cloud",
    title: "a cloud",
    balancer: "the provider's load balancer",
    health:
      "all nodes as its backends, and an HTTP health check of port 9503, path /probe/NAME, where 200 is good and everything else is not.",
    probes: "its probes",
    route: "what your provider.ts needs",
    api: "https://api.example.com",
    standIn: "how an address or a route is moved is yours to fill in",
  },
];

/** Two templates for each provider. */
export const CLOUD_ROWS: readonly Row[] = PROVIDERS.flatMap(
  ({ name, title, balancer, health, probes, standIn, ...moved }): Row[] => [
    {
      name: `${name}-mirror`,
      kind: "mirror",
      systems: ["Linux"],
      summary: `any application in ${title}: its load balancer finds the primary, or an address or a route follows it`,
      parts: ["cloud-mirror", "shared/move", `shared/${name}`, "shared/mirror"],
      words: { title, balancer, health, probes, metadata: METADATA, ...moved },
      real: "the probe, on Linux, while roles move",
      standIn,
    },
    {
      name: `${name}-farm`,
      kind: "farm",
      systems: ["Linux"],
      summary: `any application in ${title}, on every node behind the load balancer`,
      parts: ["cloud-farm", "shared/starts_both", "shared/farm"],
      words: { kind: "farm", title, balancer, health, probes },
      standIn: `its hooks do nothing until you fill them in, and its load balancer was none of ${title}`,
    },
  ],
);
