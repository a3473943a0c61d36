/**
 * A module of one of our templates, for tests with the real application.
 */
import { parseDocument } from "@std/yaml";
import * as v from "valibot";
import { moduleSchema } from "../../modules/schema.ts";
import { unsupported } from "../../modules/unsupported.ts";
import { TEMPLATES } from "../../templates/catalog.ts";
import { instantiate, parseSetting } from "../../templates/instantiate.ts";

/** The files of `module new --template NAME --set …`, without what this version does not do yet. */
export function templateFiles(name: string, settings: readonly string[] = []): Record<string, string> {
  const files = { ...TEMPLATES.find((one) => one.name === name)!.files };
  const document = parseDocument(files["module.yaml"]!);
  for (const { path } of unsupported(v.parse(moduleSchema, document.toJS()))) {
    document.deleteIn(path);
    if (path[0] === "checkers")
      for (const file of Object.keys(files)) if (file.startsWith("checkers/")) delete files[file];
  }
  files["module.yaml"] = document.toString({ lineWidth: 0 });
  return instantiate({ files }, settings.map(parseSetting));
}
