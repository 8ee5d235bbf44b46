/**
 * Lets a few in at a time. Whoever stays longer than `patienceMs` no longer counts, so that a client that does not read keeps nobody
 * out for good.
 */
export class Gate {
  readonly #places: number;
  readonly #patienceMs: number;
  readonly #waiting: (() => void)[] = [];
  #inside = 0;

  constructor(options: { readonly places: number; readonly patienceMs: number }) {
    this.#places = options.places;
    this.#patienceMs = options.patienceMs;
  }

  /** Resolves when there is a place; the result gives it back, and does nothing a second time. */
  async enter(): Promise<() => void> {
    if (this.#inside >= this.#places) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#inside++;
    let isInside = true;
    const leave = (): void => {
      if (!isInside) return;
      isInside = false;
      clearTimeout(timer);
      // The place goes on to who waits the longest.
      const next = this.#waiting.shift();
      if (next === undefined) this.#inside--;
      else next();
    };
    const timer = setTimeout(leave, this.#patienceMs);
    return leave;
  }
}
