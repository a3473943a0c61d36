/**
 * What the hooks ask of IIS, on a node that is made up: `holdfast module test NAME` runs this.
 *
 * What answers below does so as appcmd.exe is documented to do; it is not an IIS.
 */
import { assert, assertEquals, assertRejects, FakeNode } from "holdfast/testing";
import prestart from "./hooks/prestart.ts";
import startBoth from "./hooks/start_both.ts";
import stopBoth from "./hooks/stop_both.ts";

const vars = {
  appcmd: "C:/appcmd.exe",
  site: "Default Web Site",
  pool: "DefaultAppPool",
  url: "http://127.0.0.1/",
};

/** A node whose site and pool are in this state. */
function nodeWith(state: "Started" | "Stopped", service = "active"): FakeNode {
  const states: Record<string, string> = { site: state, apppool: state };
  const change = (to: string) => (line: string) => {
    const kind = line.split(" ")[2]!;
    if (states[kind] === to)
      return { exitCode: 1, stdout: "ERROR ( message:The object is in the requested state already. )" };
    states[kind] = to;
    return `"${kind}" successfully ${to.toLowerCase()}\n`;
  };
  return new FakeNode({
    kind: "farm",
    vars,
    services: { W3SVC: service },
    commands: {
      "C:/appcmd.exe list * /text:state": (line) => `${states[line.split(" ")[2]!]}\n`,
      "C:/appcmd.exe list site *": 'SITE "Default Web Site" (id:1,bindings:http/*:80:,state:Started)\n',
      "C:/appcmd.exe list apppool *":
        'APPPOOL "DefaultAppPool" (MgdVersion:v4.0,MgdMode:Integrated,state:Started)\n',
      "C:/appcmd.exe start *": change("Started"),
      "C:/appcmd.exe stop *": change("Stopped"),
    },
  });
}

Deno.test("service, pool and site are started, and the site is waited for", async () => {
  const node = nodeWith("Stopped", "inactive");
  await node.run(startBoth, { hook: "start_both" });
  assertEquals(node.services, { W3SVC: "active" });
  assertEquals(
    node.commands.filter((line) => line.includes(" start ")),
    [
      "C:/appcmd.exe start apppool /apppool.name:DefaultAppPool",
      "C:/appcmd.exe start site /site.name:'Default Web Site'",
    ],
  );
  assertEquals(node.waits, ["http://127.0.0.1/"]);
});

Deno.test("what is started already is left alone", async () => {
  const node = nodeWith("Started");
  await node.run(startBoth, { hook: "start_both" });
  assert(!node.commands.some((line) => line.includes(" start ")));
});

Deno.test("a stop leaves the web service to other sites, a forced one does not, and it is harmless when nothing runs", async () => {
  const node = nodeWith("Started");
  await node.run(stopBoth, { hook: "stop_both" });
  await node.run(stopBoth, { hook: "stop_both" });
  assertEquals(node.services, { W3SVC: "active" });
  await node.run(stopBoth, { hook: "stop_both", force: true });
  assertEquals(node.services, { W3SVC: "inactive" });
  await node.run(stopBoth, { hook: "stop_both" });
  assertEquals(node.commands.filter((line) => line.includes(" stop ")).length, 2);
});

Deno.test("a site that is not there, and a configuration with a fault, are told before it has to serve", async () => {
  await nodeWith("Stopped").run(prestart, { hook: "prestart" });
  const answering = (answer: { exitCode?: number; stdout: string }) =>
    new FakeNode({ kind: "farm", vars, commands: { "C:/appcmd.exe *": answer } });
  await assertRejects(
    () => answering({ stdout: "" }).run(prestart),
    /IIS has no site "Default Web Site" on this node/,
  );
  const fault = "ERROR ( message:Configuration error\nFilename: applicationHost.config\nLine Number: 12 )";
  await assertRejects(() => answering({ exitCode: 1, stdout: fault }).run(prestart), /Line Number: 12/);
});
