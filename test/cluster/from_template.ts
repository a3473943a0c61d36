/**
 * A module of one of our templates, for tests with the real application.
 */
import { TEMPLATES } from "../../templates/catalog.ts";
import { instantiate, parseSetting } from "../../templates/instantiate.ts";

/** The files of `module new --template NAME --set …`. */
export function templateFiles(name: string, settings: readonly string[] = []): Record<string, string> {
  return instantiate(TEMPLATES.find((one) => one.name === name)!, settings.map(parseSetting));
}
