/** In a thread of the pool: touches what the loop is about to open and read, so that it finds all of it in memory. */
import { close, flistxattr, pread } from "../../platform/linux/libc.ts";
import { openObject } from "../objects/object_access.ts";

/** Opens the object called by the name at `name`, reads its first bytes into `buffer`, closes it. Returns bytes read or -errno. */
export function warm(directory: number, name: number, length: number, buffer: number): number {
  const fd = openObject(directory, name, true);
  if (fd < 0) return fd;
  flistxattr(fd, buffer, length);
  const result = pread(fd, buffer, length, 0);
  close(fd);
  return result;
}
