/**
 * What the documentation lists and what the namespace has are the same. That the real Deno has it too, and that scripts compare each of it, is
 * in deno_conformance.test.ts.
 */
import t from "tap";
import { ChildProcess, Command } from "../../hooks/deno/command.ts";
import { FsFile } from "../../hooks/deno/file.ts";
import { denoNamespace } from "../../hooks/deno/mod.ts";
import { notOffered } from "../../hooks/deno/not_offered.ts";
import { Permissions } from "../../hooks/deno/permissions.ts";
import {
  byName,
  documentedAsMissing,
  documentedMembers,
  documentedNames,
} from "../fixtures/documented_deno.ts";

const namespace = denoNamespace("/main.ts", []);

/** Properties of an object and of its classes, below Object and EventTarget. */
function members(object: object): string[] {
  const found = new Set<string>();
  for (
    let one = object;
    one !== Object.prototype && one !== Function.prototype;
    one = Object.getPrototypeOf(one)
  )
    for (const name of Object.getOwnPropertyNames(one))
      if (!["constructor", "length", "name", "prototype", "fd"].includes(name)) found.add(name);
  return [...found].sort(byName);
}

t.test("the documentation lists exactly what is there", async (t) => {
  t.same(Object.keys(namespace).sort(byName), documentedNames);
  const classes: Record<string, object> = {
    FsFile: FsFile.prototype,
    Command: Command.prototype,
    permissions: Permissions.prototype,
  };
  for (const [name, listed] of documentedMembers) {
    const object = classes[name] ?? (Reflect.get(namespace, name) as object);
    if (name !== "ChildProcess") t.same(members(object), listed, name);
  }
  const ofChild = [...members(ChildProcess.prototype), "pid", "status"].sort(byName);
  t.same(ofChild, documentedMembers.get("ChildProcess"));
  t.same(documentedAsMissing, [...notOffered].sort(byName));
});

t.test("what is not offered says so", async (t) => {
  for (const name of notOffered) {
    const use = () => {
      const value: unknown = Reflect.get(namespace, name);
      return typeof value === "function" ? (value as () => unknown)() : value;
    };
    t.throws(use, { name: "NotSupported", message: new RegExp(`^Deno\\.${name} is not offered`) });
  }
});
