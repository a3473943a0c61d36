// What TypeScript adds that leaves code behind.
export enum Suit {
  Spades,
  Hearts,
}

export class Shape {
  static made = 0;
  constructor(
    readonly kind: string,
    private readonly side: number,
  ) {
    Shape.made++;
  }
  area(): number {
    return this.side ** 2;
  }
}
