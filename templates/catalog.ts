/**
 * What `module new` can start from: one row a template.
 */
import { templateFiles } from "./embed.ts" with { type: "macro" };

/** A module to clone. */
export interface Template {
  name: string;
  kind: "mirror" | "farm" | "light";
  summary: string;
  /** Path to content. */
  files: Readonly<Record<string, string>>;
}

/** All templates, in the order in which they are listed. */
export const TEMPLATES: readonly Template[] = [
  {
    name: "mirror",
    kind: "mirror",
    summary: "any application: fill in how it starts and stops",
    files: templateFiles("mirror"),
  },
  {
    name: "postgresql",
    kind: "mirror",
    summary: "PostgreSQL, its data directory replicated",
    files: templateFiles("postgresql"),
  },
  {
    name: "demo",
    kind: "mirror",
    summary: "the application of holdfast demo: HTTP and SQLite",
    files: templateFiles("demo"),
  },
];
