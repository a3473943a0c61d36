/** Why a peer's bytes were refused. A connection that sends one of these is closed: nothing of the frame was applied. */
export type WireFault =
  | "FrameTooShort"
  | "FrameTooLong"
  | "UnknownType"
  | "FieldCutOff"
  | "TrailingBytes"
  | "BadIdentity"
  | "BadNumber"
  | "BadName"
  | "NoRoom";

/** A malformed frame: `fault` is for programs, the message for people. */
export class WireError extends Error {
  override readonly name = "WireError";
  constructor(
    readonly fault: WireFault,
    detail: string,
  ) {
    super(`${fault}: ${detail}`);
  }
}
