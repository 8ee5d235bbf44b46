import { DynamicTable, type HeaderField } from './dynamic-table.ts';
import { huffmanEncode, huffmanLength } from './huffman.ts';

/** How large a table we keep at most, whatever the peer allows: tunnels repeat few headers. Bytes. */
const maxTableSize = 4096;

/**
 * Encodes header blocks. Names in `indexed` are those whose values repeat on a connection (`baggage`): only they enter the
 * dynamic table, so that values which are new each time do not push them out.
 */
export class HpackEncoder {
  readonly #table = new DynamicTable(maxTableSize);
  readonly #indexed: ReadonlySet<string>;
  /** Sizes the peer's decoder has yet to be told: the smallest since the last block, then the present one. */
  #sizeUpdate: { smallest: number; last: number } | undefined;

  constructor(indexed: ReadonlySet<string> = new Set()) {
    this.#indexed = indexed;
  }

  /** The peer's SETTINGS_HEADER_TABLE_SIZE; told to its decoder at the start of the next block. */
  setPeerTableSize(size: number): void {
    const wanted = Math.min(size, maxTableSize);
    if (wanted === this.#table.maxSize) return;
    this.#table.resize(wanted);
    this.#sizeUpdate = { smallest: Math.min(wanted, this.#sizeUpdate?.smallest ?? wanted), last: wanted };
  }

  encode(fields: readonly HeaderField[]): Buffer {
    const parts: Buffer[] = [];
    if (this.#sizeUpdate !== undefined) {
      const { smallest, last } = this.#sizeUpdate;
      // The smallest one too, because it made us drop entries that a decoder which only sees the last would keep.
      if (smallest < last) parts.push(encodeInteger(smallest, 5, 0x20));
      parts.push(encodeInteger(last, 5, 0x20));
      this.#sizeUpdate = undefined;
    }
    for (const field of fields) this.#encodeField(field, parts);
    return Buffer.concat(parts);
  }

  #encodeField(field: HeaderField, parts: Buffer[]): void {
    const { index, whole } = this.#table.find(field);
    if (whole) {
      parts.push(encodeInteger(index, 7, 0x80));
      return;
    }
    const indexed = this.#indexed.has(field[0]);
    parts.push(indexed ? encodeInteger(index, 6, 0x40) : encodeInteger(index, 4, 0x00));
    if (index === 0) pushString(field[0], parts);
    pushString(field[1], parts);
    if (indexed) this.#table.add(field);
  }
}

/** RFC 7541, section 5.1. */
function encodeInteger(value: number, bits: number, flags: number): Buffer {
  const mask = (1 << bits) - 1;
  if (value < mask) return Buffer.of(flags | value);
  const bytes = [flags | mask];
  let rest = value - mask;
  for (; rest >= 0x80; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  bytes.push(rest);
  return Buffer.from(bytes);
}

function pushString(text: string, parts: Buffer[]): void {
  const bytes = Buffer.from(text, 'latin1');
  const length = huffmanLength(bytes);
  if (length < bytes.length) parts.push(encodeInteger(length, 7, 0x80), huffmanEncode(bytes));
  else parts.push(encodeInteger(bytes.length, 7, 0x00), bytes);
}
