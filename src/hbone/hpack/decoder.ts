import { ErrorCode, Http2Error } from '../errors.ts';
import { DynamicTable, fieldSize, type HeaderField } from './dynamic-table.ts';
import { huffmanDecode } from './huffman.ts';

/** Every header block of a connection passes through one decoder, in order. */
export class HpackDecoder {
  readonly #table: DynamicTable;
  readonly #maxTableSize: number;
  readonly #maxListSize: number;

  /**
   * `maxTableSize`: the SETTINGS_HEADER_TABLE_SIZE we announced, bytes (protocol default 4096). `maxListSize`: bound of one
   * decoded header list, counted as SETTINGS_MAX_HEADER_LIST_SIZE counts.
   */
  constructor(options: { readonly maxTableSize?: number; readonly maxListSize: number }) {
    this.#maxTableSize = options.maxTableSize ?? 4096;
    this.#maxListSize = options.maxListSize;
    this.#table = new DynamicTable(this.#maxTableSize);
  }

  /** Throws COMPRESSION_ERROR for a malformed block, ENHANCE_YOUR_CALM for a list over the bound. Both end the connection. */
  decode(block: Uint8Array): HeaderField[] {
    const reader = new BlockReader(block);
    const fields: HeaderField[] = [];
    let listSize = 0;
    while (!reader.done) {
      const first = reader.peek();
      if ((first & 0xe0) === 0x20) {
        if (fields.length > 0) throw malformed('table size update after a header field');
        this.#updateSize(reader.integer(5));
        continue;
      }
      const field = this.#field(reader, first);
      listSize += fieldSize(field);
      if (listSize > this.#maxListSize)
        throw new Http2Error(ErrorCode.ENHANCE_YOUR_CALM, `header list larger than ${this.#maxListSize} bytes`);
      fields.push(field);
    }
    return fields;
  }

  #field(reader: BlockReader, first: number): HeaderField {
    if ((first & 0x80) !== 0) return this.#entry(reader.integer(7));
    const indexed = (first & 0x40) !== 0;
    const nameIndex = reader.integer(indexed ? 6 : 4);
    const name = nameIndex === 0 ? reader.string() : this.#entry(nameIndex)[0];
    const field: HeaderField = [name, reader.string()];
    if (indexed) this.#table.add(field);
    return field;
  }

  #entry(index: number): HeaderField {
    const field = index === 0 ? undefined : this.#table.get(index);
    if (field === undefined) throw malformed(`no table entry ${index}`);
    return field;
  }

  #updateSize(size: number): void {
    if (size > this.#maxTableSize) throw malformed(`table size ${size} above the limit ${this.#maxTableSize}`);
    this.#table.resize(size);
  }
}

class BlockReader {
  readonly #block: Uint8Array;
  #at = 0;

  constructor(block: Uint8Array) {
    this.#block = block;
  }

  get done(): boolean {
    return this.#at >= this.#block.length;
  }

  peek(): number {
    const byte = this.#block[this.#at];
    if (byte === undefined) throw malformed('header block ends inside a field');
    return byte;
  }

  /** An integer with a prefix of `bits` bits (RFC 7541, section 5.1), at most 2^28 more than the prefix holds. */
  integer(bits: number): number {
    const mask = (1 << bits) - 1;
    let value = this.#byte() & mask;
    if (value < mask) return value;
    for (let shift = 0; shift <= 21; shift += 7) {
      const byte = this.#byte();
      value += (byte & 0x7f) << shift;
      if ((byte & 0x80) === 0) return value;
    }
    throw malformed('integer of more than five bytes');
  }

  string(): string {
    const huffman = (this.peek() & 0x80) !== 0;
    const length = this.integer(7);
    const end = this.#at + length;
    if (end > this.#block.length) throw malformed('string longer than the header block');
    const bytes = this.#block.subarray(this.#at, end);
    this.#at = end;
    const plain = huffman ? huffmanDecode(bytes) : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    return plain.toString('latin1');
  }

  #byte(): number {
    const byte = this.peek();
    this.#at += 1;
    return byte;
  }
}

function malformed(what: string): Http2Error {
  return new Http2Error(ErrorCode.COMPRESSION_ERROR, what);
}
