/** Names as strings of one character per byte: exact for any name, whatever its encoding. */

/** The `length` bytes from `at` on. One string: put together from its characters it would be as many. */
export const nameText = (name: Uint8Array, at = 0, length = name.length - at): string =>
  Buffer.prototype.latin1Slice.call(name, at, at + length);

/** The bytes of a name that `nameText` made. */
export function nameBytes(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let index = 0; index < text.length; index++) bytes[index] = text.charCodeAt(index);
  return bytes;
}
