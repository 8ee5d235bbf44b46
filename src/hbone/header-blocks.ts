import { ErrorCode, Http2Error, protocolError, sizeError } from './errors.ts';
import type { FloodGuard } from './flood-guard.ts';
import { Flag, maxWindow } from './frames.ts';
import { HpackDecoder } from './hpack/decoder.ts';
import type { HeaderField } from './hpack/dynamic-table.ts';

/** The headers of one stream, put together and decoded. */
export interface HeaderBlock {
  readonly streamId: number;
  readonly fields: readonly HeaderField[];
  readonly endStream: boolean;
}

/**
 * Puts HEADERS and CONTINUATION frames together and decodes them. Every block is decoded, also for streams that are gone:
 * both sides' tables have to stay alike. Throws {@link Http2Error}.
 */
export class HeaderBlocks {
  readonly #decoder: HpackDecoder;
  readonly #maxListSize: number;
  readonly #guard: FloodGuard;
  #open: { readonly streamId: number; readonly endStream: boolean; readonly parts: Buffer[]; size: number } | undefined;

  constructor(options: { readonly maxListSize: number; readonly guard: FloodGuard }) {
    this.#maxListSize = options.maxListSize;
    this.#guard = options.guard;
    this.#decoder = new HpackDecoder({ maxListSize: options.maxListSize });
  }

  /** Only CONTINUATION may come now. */
  get incomplete(): boolean {
    return this.#open !== undefined;
  }

  /** A HEADERS frame; undefined while its block is not complete. */
  headers(flags: number, streamId: number, payload: Buffer): HeaderBlock | undefined {
    if (streamId === 0) throw protocolError('HEADERS without a stream');
    let block = payload;
    if ((flags & Flag.PADDED) !== 0) {
      const padding = block[0] ?? 0;
      if (block.length === 0 || padding >= block.length) throw protocolError('padding longer than its frame');
      block = block.subarray(1, block.length - padding);
    }
    if ((flags & Flag.PRIORITY) !== 0) {
      if (block.length < 5) throw sizeError('HEADERS with priority', block);
      if ((block.readUInt32BE(0) & maxWindow) === streamId) throw protocolError('stream depends on itself');
      block = block.subarray(5);
    }
    const endStream = (flags & Flag.END_STREAM) !== 0;
    if ((flags & Flag.END_HEADERS) !== 0) return { streamId, fields: this.#decoder.decode(block), endStream };
    // The block is only borrowed from the reader, and the rest comes later: it is copied.
    this.#open = { streamId, endStream, parts: [Buffer.from(block)], size: block.length };
    return undefined;
  }

  /** A CONTINUATION frame; undefined while its block is not complete. */
  continuation(flags: number, streamId: number, payload: Buffer): HeaderBlock | undefined {
    const open = this.#open;
    if (open?.streamId !== streamId) throw protocolError('CONTINUATION without its HEADERS');
    open.size += payload.length;
    if (open.size > this.#maxListSize) throw new Http2Error(ErrorCode.ENHANCE_YOUR_CALM, 'header block too large');
    if (payload.length === 0) this.#guard.count('emptyFrames');
    open.parts.push(Buffer.from(payload));
    if ((flags & Flag.END_HEADERS) === 0) return undefined;
    this.#open = undefined;
    return { streamId, fields: this.#decoder.decode(Buffer.concat(open.parts)), endStream: open.endStream };
  }
}
