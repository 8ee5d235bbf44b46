import { staticTable } from './static-table.ts';

/** A header field: lower-case name, and value. */
export type HeaderField = readonly [name: string, value: string];

/** What an entry counts besides its name and value (RFC 7541, section 4.1); header list sizes count the same. */
export const entryOverhead = 32;

/** Size of a field in a table or in a header list, as both are limited. */
export function fieldSize([name, value]: HeaderField): number {
  // One byte a character: header fields are Latin-1 here, whatever the bytes mean.
  return name.length + value.length + entryOverhead;
}

/** The table that encoder and decoder build up alike: the newest entry first, the oldest dropped when it gets too large. */
export class DynamicTable {
  readonly #entries: HeaderField[] = [];
  #size = 0;
  #maxSize: number;

  constructor(maxSize: number) {
    this.#maxSize = maxSize;
  }

  get maxSize(): number {
    return this.#maxSize;
  }

  resize(maxSize: number): void {
    this.#maxSize = maxSize;
    this.#evict(maxSize);
  }

  /** An entry larger than the table empties it and is not kept, which is not an error. */
  add(field: HeaderField): void {
    const size = fieldSize(field);
    this.#evict(this.#maxSize - size);
    if (size > this.#maxSize) return;
    this.#entries.unshift(field);
    this.#size += size;
  }

  /** The entry of an index that counts the static table first, from 1. */
  get(index: number): HeaderField | undefined {
    return index <= staticTable.length ? staticTable[index - 1] : this.#entries[index - staticTable.length - 1];
  }

  /** Index of the whole field, or else of its name; 0 for neither. */
  find(field: HeaderField): { readonly index: number; readonly whole: boolean } {
    const whole = this.#search(([name, value]) => name === field[0] && value === field[1]);
    if (whole !== 0) return { index: whole, whole: true };
    return { index: this.#search(([name]) => name === field[0]), whole: false };
  }

  #search(matches: (field: HeaderField) => boolean): number {
    const inStatic = staticTable.findIndex(matches);
    if (inStatic >= 0) return inStatic + 1;
    const inDynamic = this.#entries.findIndex(matches);
    return inDynamic < 0 ? 0 : staticTable.length + 1 + inDynamic;
  }

  #evict(room: number): void {
    while (this.#size > room) {
      const oldest = this.#entries.pop();
      if (oldest === undefined) return;
      this.#size -= fieldSize(oldest);
    }
  }
}
