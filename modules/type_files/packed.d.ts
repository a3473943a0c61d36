/** Files that are in the binary as they are; importing one with `type: "file"` gives its path. */
declare module "*.zst" {
  const path: string;
  export default path;
}
