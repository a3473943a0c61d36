/**
 * What the hooks ask of the engine, on a node that is made up: `holdfast module test NAME` runs this.
 */
import { assert, assertEquals, assertMatch, assertRejects, FakeNode } from "holdfast/testing";
import checker from "./checkers/containers.ts";
import prestart from "./hooks/prestart.ts";
import startPrim from "./hooks/start_prim.ts";
import stopPrim from "./hooks/stop_prim.ts";

interface Made {
  Id: string;
  Name: string;
  State: { Status: string; ExitCode: number; Pid: number; Health?: { Status: string } };
  HostConfig: { RestartPolicy: { Name: string } };
  Mounts: { Type: string; Destination: string }[];
}

/** What `inspect` would say of a container that runs. */
function made(Id: string, more: Partial<Made> = {}): Made {
  return {
    ...{ Id, Name: `/${Id}`, State: { Status: "running", ExitCode: 0, Pid: 4711 }, Mounts: [] },
    HostConfig: { RestartPolicy: { Name: "no" } },
    ...more,
  };
}

/** An engine with these containers, which `run` and `compose up` add to and `rm` empties. */
function engine({ there = [] as Made[], fresh = [made("web")], vars = {}, image = true, pulls = true } = {}) {
  let containers = there;
  const create = () => {
    containers = [...containers, ...fresh];
    return "";
  };
  const node = new FakeNode({
    module: "web",
    vars: {
      engine: "engine",
      image: "shop:1",
      options: "--publish 80:80 --env 'NAME=a b'",
      command: "serve --all",
      archive: "",
      compose: "",
      patience: "30",
      ...vars,
    },
    commands: {
      "engine ps --quiet": "",
      "engine ps * label=holdfast.module=web": () => containers.map(({ Id }) => Id).join("\n"),
      "engine ps *": "",
      "engine inspect *": () => JSON.stringify(containers),
      "engine image inspect *": { exitCode: image ? 0 : 1 },
      "engine pull *": { exitCode: pulls ? 0 : 1 },
      "engine load *": "",
      "engine run *": create,
      "engine compose * up *": create,
      "engine compose * stop *": "",
      "engine stop *": "",
      "engine logs *": "no such page\n",
      "engine update *": (line) => ({ exitCode: line.includes("stubborn") ? 125 : 0 }),
      "engine rm *": () => {
        containers = [];
        return "";
      },
    },
  });
  const asked = (word: string) => node.commands.filter((line) => line.startsWith(`engine ${word} `));
  return { node, asked };
}

Deno.test("a container is made with the options as they are written, and killed at fencing", async () => {
  const { node, asked } = engine();
  await node.run(startPrim);
  assertEquals(asked("run"), [
    "engine run --detach --name web --label holdfast.module=web --restart no --stop-timeout 30 --publish 80:80 --env 'NAME=a b' shop:1 serve --all",
  ]);
  assertEquals(node.adopted, [4711]);
});

Deno.test("what runs already is left alone; what is left of a crash is made anew", async () => {
  const running = engine({ there: [made("web")] });
  await running.node.run(startPrim);
  assertEquals(running.asked("run"), []);
  assertEquals(running.node.adopted, [4711]);
  const ended = engine({ there: [made("old", { State: { Status: "exited", ExitCode: 137, Pid: 0 } })] });
  await ended.node.run(startPrim);
  assertEquals(ended.asked("rm"), ["engine rm --force old"]);
  assertEquals(ended.asked("run").length, 1);
});

Deno.test("the image comes out of its file where the node does not have it", async () => {
  const { node, asked } = engine({ image: false, vars: { archive: "/srv/web/image.tar" } });
  await node.run(startPrim);
  assertEquals(asked("load"), ["engine load --input /srv/web/image.tar"]);
});

Deno.test("a compose file's containers are started by compose, and never again by the engine", async () => {
  const always = { HostConfig: { RestartPolicy: { Name: "always" } } };
  const { node, asked } = engine({
    vars: { compose: "/srv/web/compose.yaml" },
    fresh: [made("web-db-1", always), made("web-app-1")],
  });
  await node.run(startPrim);
  assertEquals(asked("compose"), [
    "engine compose --project-name web --file /srv/web/compose.yaml up --detach --remove-orphans",
  ]);
  assertEquals(asked("update"), ["engine update --restart no web-db-1"]);
  await node.run(stopPrim, { hook: "stop_prim" });
  assertMatch(asked("compose")[1]!, / stop --timeout 30$/);
});

Deno.test("an engine that insists on restarting is refused", async () => {
  const { node } = engine({
    fresh: [made("stubborn", { HostConfig: { RestartPolicy: { Name: "always" } } })],
  });
  await assertRejects(() => node.run(startPrim), /would restart stubborn by itself/);
});

Deno.test("a container that ends at once fails the start, with its last words", async () => {
  const { node } = engine({ fresh: [made("web", { State: { Status: "exited", ExitCode: 3, Pid: 0 } })] });
  await assertRejects(() => node.run(startPrim), /web ended with status 3/);
  assert(node.logged.includes("no such page"));
});

Deno.test("data that would stay behind is named", async () => {
  const { node } = engine({ fresh: [made("web", { Mounts: [{ Type: "volume", Destination: "/data" }] })] });
  await node.run(startPrim);
  assert(node.logged.some((line) => line.startsWith("warning: web keeps /data in a volume")));
});

Deno.test("a stop is given time, a forced one kills, and both are harmless when nothing is there", async () => {
  const calm = engine({ there: [made("web")] });
  await calm.node.run(stopPrim, { hook: "stop_prim" });
  assertEquals(calm.asked("stop"), ["engine stop --time 30 web"]);
  assertEquals(calm.asked("rm"), ["engine rm --force web"]);
  await calm.node.run(stopPrim, { hook: "stop_prim", force: true });
  const forced = engine({ there: [made("web")] });
  await forced.node.run(stopPrim, { hook: "stop_prim", force: true });
  assertEquals(forced.asked("stop"), []);
  assertEquals(forced.asked("rm"), ["engine rm --force web"]);
});

Deno.test("before the start: what is left is removed, and the image is brought or missed in time", async () => {
  const { node, asked } = engine({ there: [made("web")], image: false, pulls: false });
  await node.run(prestart, { hook: "prestart" });
  assertEquals(asked("rm"), ["engine rm --force web"]);
  assertEquals(asked("pull"), ["engine pull shop:1"]);
  assert(node.logged.some((line) => line.includes("without it this node cannot take over")));
});

Deno.test("the checker sees what ended and what is unhealthy", async () => {
  assertEquals(await engine().node.check(checker), { state: "down", detail: "there is no container" });
  assertEquals(await engine({ there: [made("web")] }).node.check(checker), { state: "up", detail: "" });
  const ill = { Status: "running", ExitCode: 0, Pid: 4711, Health: { Status: "unhealthy" } };
  assertEquals(
    (await engine({ there: [made("web", { State: ill })] }).node.check(checker)).detail,
    "web is unhealthy",
  );
  const killed = { Status: "exited", ExitCode: 137, Pid: 0 };
  assertEquals(
    (await engine({ there: [made("web", { State: killed })] }).node.check(checker)).detail,
    "web ended with status 137",
  );
});
