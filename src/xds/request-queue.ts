/**
 * The requests of one stream on their way out. {@link RequestQueue.put} resolves when the queue is short enough again, which holds
 * back a reader whose answers the server does not take.
 */
export class RequestQueue<T> implements AsyncIterable<T> {
  readonly #bound: number;
  readonly #items: T[] = [];
  #closed = false;
  #onItem: (() => void) | undefined;
  #onRoom: (() => void)[] = [];

  constructor(options: { readonly bound: number }) {
    this.#bound = options.bound;
  }

  async put(item: T): Promise<void> {
    if (this.#closed) return;
    this.#items.push(item);
    this.#onItem?.();
    if (this.#items.length <= this.#bound) return;
    await new Promise<void>((resolve) => this.#onRoom.push(resolve));
  }

  close(): void {
    this.#closed = true;
    this.#onItem?.();
    this.#release();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T> {
    for (;;) {
      const item = this.#items.shift();
      if (item !== undefined) {
        if (this.#items.length <= this.#bound) this.#release();
        yield item;
      } else if (this.#closed) return;
      else await new Promise<void>((resolve) => (this.#onItem = resolve));
    }
  }

  #release(): void {
    for (const resolve of this.#onRoom.splice(0)) resolve();
  }
}
