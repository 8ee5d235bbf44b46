import { ErrorCode, Http2Error } from './errors.ts';
import { Flag, frameHeaderSize, FrameType } from './frames.ts';

/** Who hears of frames. What is passed belongs to the receiver only until it returns, except for DATA. */
export interface FrameSink {
  /** A whole frame that is not DATA. */
  frame(type: number, flags: number, streamId: number, payload: Buffer): void;
  /**
   * A piece of a DATA frame, as soon as it is there. `flowControlled` is what it counts in the windows (padding included);
   * `endStream` comes with the frame's last piece. The chunk is the sink's to keep.
   */
  data(streamId: number, chunk: Buffer, flowControlled: number, endStream: boolean): void;
}

/** Frames of these types are gathered before they are passed on; those of unknown types are skipped. */
const known: ReadonlySet<number> = new Set(Object.values(FrameType));

const nothing = Buffer.alloc(0);

/**
 * Cuts a byte stream into frames, however it arrives. DATA is passed on piece by piece without a copy, so that a peer's
 * frame of 1 MiB costs no memory here; all else is gathered, up to `maxGathered` bytes.
 */
export class FrameReader {
  readonly #sink: FrameSink;
  readonly #maxFrameSize: number;
  readonly #maxGathered: number;
  readonly #header = Buffer.alloc(frameHeaderSize);
  #headerSize = 0;
  #inFrame = false;
  #type = 0;
  #flags = 0;
  #streamId = 0;
  /** Payload bytes of the current frame still to come. */
  #left = 0;
  /** Padding bytes at the end of the current DATA frame; undefined while the byte that tells is still to come. */
  #padding: number | undefined = 0;
  #gathered: Buffer | undefined;
  #gatheredSize = 0;
  #stopped = false;

  constructor(sink: FrameSink, options: { readonly maxFrameSize: number; readonly maxGathered: number }) {
    this.#sink = sink;
    this.#maxFrameSize = options.maxFrameSize;
    this.#maxGathered = options.maxGathered;
  }

  /** Nothing is passed to the sink any more, not even from the chunk that is being read. */
  stop(): void {
    this.#stopped = true;
  }

  /** Throws {@link Http2Error}; nothing may be pushed after that. */
  push(chunk: Buffer): void {
    let at = 0;
    while (!this.#stopped && (at < chunk.length || (this.#inFrame && this.#left === 0))) {
      if (!this.#inFrame) at = this.#readHeader(chunk, at);
      else if (this.#type === FrameType.DATA) at = this.#readData(chunk, at);
      else at = this.#readOther(chunk, at);
    }
  }

  #readHeader(chunk: Buffer, at: number): number {
    let header = chunk;
    let start = at;
    let end = at + frameHeaderSize;
    if (this.#headerSize > 0 || end > chunk.length) {
      const copied = chunk.copy(this.#header, this.#headerSize, at, at + frameHeaderSize - this.#headerSize);
      this.#headerSize += copied;
      end = at + copied;
      if (this.#headerSize < frameHeaderSize) return end;
      this.#headerSize = 0;
      header = this.#header;
      start = 0;
    }
    this.#left = header.readUIntBE(start, 3);
    this.#type = header.readUInt8(start + 3);
    this.#flags = header.readUInt8(start + 4);
    this.#streamId = header.readUInt32BE(start + 5) & 0x7fff_ffff;
    this.#startFrame();
    return end;
  }

  #startFrame(): void {
    this.#inFrame = true;
    if (this.#left > this.#maxFrameSize) throw new Http2Error(ErrorCode.FRAME_SIZE_ERROR, `frame of ${this.#left} bytes`);
    if (this.#type === FrameType.DATA) {
      const padded = (this.#flags & Flag.PADDED) !== 0;
      if (padded && this.#left === 0) throw new Http2Error(ErrorCode.FRAME_SIZE_ERROR, 'padded frame without its padding length');
      this.#padding = padded ? undefined : 0;
    } else if (known.has(this.#type) && this.#left > this.#maxGathered) {
      throw new Http2Error(ErrorCode.ENHANCE_YOUR_CALM, `frame of type ${this.#type} with ${this.#left} bytes`);
    }
  }

  #readData(chunk: Buffer, at: number): number {
    let from = at;
    let counted = 0;
    if (this.#padding === undefined) {
      this.#padding = chunk.readUInt8(from);
      from += 1;
      counted = 1;
      this.#left -= 1;
      if (this.#padding > this.#left) throw new Http2Error(ErrorCode.PROTOCOL_ERROR, 'padding longer than its frame');
    }
    const end = Math.min(chunk.length, from + this.#left);
    const content = Math.min(end - from, this.#left - this.#padding);
    counted += end - from;
    this.#left -= end - from;
    // Content of this frame that is still to come lies before the padding; #left now counts both.
    this.#padding = Math.min(this.#padding, this.#left);
    const last = this.#left === 0;
    this.#inFrame = !last;
    this.#sink.data(
      this.#streamId,
      content > 0 ? chunk.subarray(from, from + content) : nothing,
      counted,
      last && (this.#flags & Flag.END_STREAM) !== 0,
    );
    return end;
  }

  #readOther(chunk: Buffer, at: number): number {
    const end = Math.min(chunk.length, at + this.#left);
    const part = chunk.subarray(at, end);
    this.#left -= part.length;
    const last = this.#left === 0;
    this.#inFrame = !last;
    if (!known.has(this.#type)) return end;
    if (last && this.#gathered === undefined) {
      this.#sink.frame(this.#type, this.#flags, this.#streamId, part);
      return end;
    }
    this.#gathered ??= Buffer.allocUnsafe(part.length + this.#left);
    this.#gathered.set(part, this.#gatheredSize);
    this.#gatheredSize += part.length;
    if (last) {
      const whole = this.#gathered;
      this.#gathered = undefined;
      this.#gatheredSize = 0;
      this.#sink.frame(this.#type, this.#flags, this.#streamId, whole);
    }
    return end;
  }
}
