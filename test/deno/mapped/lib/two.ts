export const two: number = 2;
export { one } from "@lib/one.ts";
