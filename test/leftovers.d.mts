/** Types of leftovers.mjs, for its test. */
export const MARK: string;
export function cleanAfter(pid: number, mark: string): Promise<string[]>;
