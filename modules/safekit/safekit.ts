/** The door of modules/safekit: a SafeKit package becomes the files of a module, and a report. Nothing is written to a disk here. */

import { moduleYaml } from "./module_yaml.ts";
import { type Counts, countsOf, formatCounts, formatLine, type ReportLine, reportLines } from "./report.ts";
import { CONFIGURATION, FOLDER, type MadeFile, makeScripts } from "./scripts.ts";
import { settle, settleParts } from "./settings.ts";
import { translate } from "./translate.ts";
import { readXml } from "./xml.ts";
import { LIMIT_ARCHIVE, looksLikeZip, PackageInvalid, readZip } from "./zip.ts";

export {
  type Counts,
  formatCounts,
  formatLine,
  LIMIT_ARCHIVE,
  looksLikeZip,
  type MadeFile,
  PackageInvalid,
  type ReportLine,
};

/** What a package became. */
export interface Imported {
  files: Map<string, MadeFile>;
  report: ReportLine[];
  counts: Counts;
}

/** Reads a package whole and translates it. Throws PackageInvalid with what is wrong with it. */
export function importPackage(bytes: Buffer): Imported {
  const packed = readZip(bytes);
  const configuration = packed.get(CONFIGURATION);
  if (configuration === undefined)
    throw new PackageInvalid(`it holds no ${CONFIGURATION}: it is no package of a SafeKit module`);
  const { kind, settings, entries, runsScripts } = translate(
    readXml(configuration.content, CONFIGURATION),
    CONFIGURATION,
  );
  const settled = settle(kind, settings);
  settleParts(entries);
  const variables = Object.keys(Object(settled["vars"] ?? {}));
  const scripts = makeScripts(packed, variables, runsScripts);
  const report = reportLines(entries, scripts.report, CONFIGURATION);
  const counts = countsOf(report);
  const files = new Map(scripts.files);
  const text = (content: string): MadeFile => ({ content: Buffer.from(content), executable: false });
  files.set("module.yaml", text(moduleYaml(settled)));
  files.set(
    `${FOLDER}/report.txt`,
    text(`${formatCounts(counts)}\n\n${report.map(formatLine).join("\n")}\n`),
  );
  return { files, report, counts };
}
