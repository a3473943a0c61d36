import { two } from "@lib/two.ts";
export const one = two - 1;
