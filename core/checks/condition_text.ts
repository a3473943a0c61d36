/**
 * The language of rules: `ping.gateway == down && !(remote.ping.gateway == down)`.
 *
 *   or   = and { "||" and }        and  = unary { "&&" unary }        unary = "!" unary | "(" or ")" | NAME ("==" | "!=") STATE
 *   NAME = [ "local." | "remote." ] CLASS "." ( ID | "*" | "?" )
 */
import { type Condition, RESOURCE_STATES, type ResourceState } from "./condition.ts";

/** A condition that cannot be read. `offset` counts characters from 0. */
export class ConditionError extends Error {
  override name = "ConditionError";
  constructor(
    readonly offset: number,
    message: string,
  ) {
    super(message);
  }
}

interface Token {
  text: string;
  offset: number;
}

/** Parentheses and negations deeper than any person writes. */
const DEEPEST = 64;
const NAME = /^(?:(local|remote)\.)?([a-z][A-Za-z0-9_]*\.(?:[A-Za-z0-9_.:@-]+|[*?]))$/;

/** Reads a condition. Throws ConditionError. */
export function parseCondition(text: string): Condition {
  return new Parser(text).whole();
}

class Parser {
  readonly #tokens: Token[];
  #next = 0;
  #depth = 0;

  constructor(private readonly text: string) {
    this.#tokens = tokensOf(text);
  }

  whole(): Condition {
    const condition = this.#or();
    const rest = this.#tokens[this.#next];
    if (rest !== undefined) throw this.#refuse(rest, "&&, || or the end");
    return condition;
  }

  #or(): Condition {
    let left = this.#and();
    while (this.#take("||")) left = { op: "or", left, right: this.#and() };
    return left;
  }

  #and(): Condition {
    let left = this.#unary();
    while (this.#take("&&")) left = { op: "and", left, right: this.#unary() };
    return left;
  }

  #unary(): Condition {
    const token = this.#tokens[this.#next];
    if (++this.#depth > DEEPEST) throw new ConditionError(token?.offset ?? 0, "nested too deeply");
    const condition = this.#innermost();
    this.#depth--;
    return condition;
  }

  #innermost(): Condition {
    if (this.#take("!")) return { op: "not", of: this.#unary() };
    if (!this.#take("(")) return this.#comparison();
    const inner = this.#or();
    if (!this.#take(")")) throw this.#refuse(this.#tokens[this.#next], '")"');
    return inner;
  }

  #comparison(): Condition {
    const token = this.#tokens[this.#next];
    const [, where, name] = NAME.exec(token?.text ?? "") ?? [];
    if (name === undefined) throw this.#refuse(token, "a resource such as tcp.db or remote.ping.gateway");
    this.#next++;
    const equal = this.#take("==");
    if (!equal && !this.#take("!=")) throw this.#refuse(this.#tokens[this.#next], "== or !=");
    const word = this.#tokens[this.#next];
    const state = RESOURCE_STATES.find((known: ResourceState) => known === word?.text);
    if (state === undefined) throw this.#refuse(word, `a state: ${RESOURCE_STATES.join(", ")}`);
    this.#next++;
    return { op: "is", remote: where === "remote", name, equal, state };
  }

  #take(text: string): boolean {
    if (this.#tokens[this.#next]?.text !== text) return false;
    this.#next++;
    return true;
  }

  #refuse(token: Token | undefined, expected: string): ConditionError {
    const offset = token?.offset ?? this.text.trimEnd().length;
    return new ConditionError(offset, `expected ${expected}, found ${token ? token.text : "the end"}`);
  }
}

function tokensOf(text: string): Token[] {
  const pattern = /\s*(&&|\|\||==|!=|[!()]|[A-Za-z0-9_.:@*?-]+)/y;
  const tokens: Token[] = [];
  const end = text.trimEnd().length;
  for (let at = 0; at < end; at = pattern.lastIndex) {
    pattern.lastIndex = at;
    const found = pattern.exec(text)?.[1];
    if (found === undefined) {
      const offset = at + /^\s*/.exec(text.slice(at))![0].length;
      throw new ConditionError(offset, `${JSON.stringify(text[offset])} means nothing here`);
    }
    tokens.push({ text: found, offset: pattern.lastIndex - found.length });
  }
  return tokens;
}
