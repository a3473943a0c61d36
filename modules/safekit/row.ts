/** What a row of the table of userconfig.xml may say: of an element, and of each of its attributes. */
import type { Element } from "./xml.ts";

/** What became of a thing. `none`: no equivalent; the words say whether anything is lost. */
export type Verdict = "translated" | "approximated" | "none";

/** What a row's functions may look at. */
export interface Place {
  element: Element;
  kind: "mirror" | "farm" | "light";
  /** An attribute of the element. */
  get(name: string): string | undefined;
  /** An attribute of the nearest element of that name around it. */
  around(element: string, name: string): string | undefined;
}

/** What an attribute becomes. */
export interface AttributeRow {
  verdict: Verdict;
  to?: string | ((place: Place) => string);
  /** The value at `to`; undefined: nothing needs to be said there. Throws RangeError where it cannot be carried over. Default: the text itself. */
  convert?: (text: string, place: Place) => unknown;
  say?: string;
  /** Values that are another matter than the row says; theirs replaces verdict and words, without a `to` nothing is set, `set` replaces the value. */
  cases?: Readonly<Record<string, { verdict: Verdict; say: string; to?: string; set?: unknown }>>;
  /** What SafeKit takes where the attribute is missing, if that matters: handled and reported as if it stood there. */
  absent?: string;
  /** It says something only together with the rest of its element: when that is not taken, neither is this. */
  part?: true;
  /** Only for these kinds; elsewhere the attribute is reported as without effect. */
  kinds?: readonly Place["kind"][];
}

/** What an element becomes. */
export interface ElementRow {
  attributes: Readonly<Record<string, AttributeRow>>;
  /** About the element itself, beside its attributes. */
  verdict?: Verdict;
  say?: string;
  to?: string;
  value?: (place: Place) => unknown;
  /** The element's own key, for {}: a name, or "+" for the next number of `list`; "" when it has none and its attributes set nothing. */
  key?: (place: Place) => string;
  list?: string;
  /** Two elements with one name become two things. */
  unique?: true;
}

/** It has no equivalent; the words say whether anything is lost. */
export const none = (say: string) => ({ verdict: "none", say }) as const;
/** The same holds in Holdfast without a word in module.yaml. */
export const same = (say: string) => ({ verdict: "translated", say }) as const;
/** What SafeKit is told in each module, and Holdfast once for the cluster. */
export const OF_CLUSTER = none("nodes, addresses and ports are those of cluster.yaml");
