/** Prints what a piece of work gives, or the error that it throws: its class, its name, its code and its words. */
export async function attempt(label: string, work: () => unknown): Promise<void> {
  try {
    console.log(label, "=>", await work());
  } catch (error) {
    const { name, message } = error as Error;
    const kind = (error as Error).constructor.name;
    console.log(label, "throws", kind, name, (error as { code?: unknown }).code, message);
  }
}

export const bytes = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text);
export const text = (data: Uint8Array): string => new TextDecoder().decode(data);
