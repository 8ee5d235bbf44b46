/** Frames of HTTP/2 as bytes (RFC 9113, sections 4 and 6): what is sent. Reading them is in frame-reader.ts. */

export const FrameType = {
  DATA: 0x0,
  HEADERS: 0x1,
  PRIORITY: 0x2,
  RST_STREAM: 0x3,
  SETTINGS: 0x4,
  PUSH_PROMISE: 0x5,
  PING: 0x6,
  GOAWAY: 0x7,
  WINDOW_UPDATE: 0x8,
  CONTINUATION: 0x9,
} as const;

export const Flag = {
  END_STREAM: 0x1,
  ACK: 0x1,
  END_HEADERS: 0x4,
  PADDED: 0x8,
  PRIORITY: 0x20,
} as const;

export const SettingId = {
  HEADER_TABLE_SIZE: 0x1,
  ENABLE_PUSH: 0x2,
  MAX_CONCURRENT_STREAMS: 0x3,
  INITIAL_WINDOW_SIZE: 0x4,
  MAX_FRAME_SIZE: 0x5,
  MAX_HEADER_LIST_SIZE: 0x6,
} as const;

/** What a client sends before its first frame. */
export const clientPreface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');

export const frameHeaderSize = 9;
/** Initial flow-control window of the connection and of streams, bytes. */
export const defaultWindow = 65_535;
export const maxWindow = 0x7fff_ffff;
/** SETTINGS_MAX_FRAME_SIZE before the peer says more, bytes. */
export const defaultMaxFrameSize = 16_384;

/** The nine bytes before a payload of `length` bytes. */
export function frameHeader(type: number, flags: number, streamId: number, length: number): Buffer {
  const header = Buffer.allocUnsafe(frameHeaderSize);
  writeHeader(header, type, flags, streamId, length);
  return header;
}

export function settingsFrame(settings: readonly (readonly [id: number, value: number])[]): Buffer {
  const frame = allocate(FrameType.SETTINGS, 0, 0, settings.length * 6);
  settings.forEach(([id, value], index) => {
    frame.writeUInt16BE(id, frameHeaderSize + index * 6);
    frame.writeUInt32BE(value, frameHeaderSize + index * 6 + 2);
  });
  return frame;
}

export function settingsAckFrame(): Buffer {
  return allocate(FrameType.SETTINGS, Flag.ACK, 0, 0);
}

/** `opaque`: eight bytes. */
export function pingFrame(opaque: Uint8Array, ack: boolean): Buffer {
  const frame = allocate(FrameType.PING, ack ? Flag.ACK : 0, 0, 8);
  frame.set(opaque.subarray(0, 8), frameHeaderSize);
  return frame;
}

export function windowUpdateFrame(streamId: number, increment: number): Buffer {
  const frame = allocate(FrameType.WINDOW_UPDATE, 0, streamId, 4);
  frame.writeUInt32BE(increment, frameHeaderSize);
  return frame;
}

export function rstStreamFrame(streamId: number, errorCode: number): Buffer {
  const frame = allocate(FrameType.RST_STREAM, 0, streamId, 4);
  frame.writeUInt32BE(errorCode, frameHeaderSize);
  return frame;
}

export function goAwayFrame(lastStreamId: number, errorCode: number, debug = ''): Buffer {
  const text = Buffer.from(debug);
  const frame = allocate(FrameType.GOAWAY, 0, 0, 8 + text.length);
  frame.writeUInt32BE(lastStreamId, frameHeaderSize);
  frame.writeUInt32BE(errorCode, frameHeaderSize + 4);
  frame.set(text, frameHeaderSize + 8);
  return frame;
}

/** HEADERS, followed by CONTINUATION frames when the block is larger than `maxFrameSize`. */
export function headersFrames(
  streamId: number,
  block: Buffer,
  options: { readonly endStream: boolean; readonly maxFrameSize: number },
): Buffer[] {
  const frames: Buffer[] = [];
  let at = 0;
  do {
    const end = Math.min(block.length, at + options.maxFrameSize);
    const type = at === 0 ? FrameType.HEADERS : FrameType.CONTINUATION;
    const flags = (end === block.length ? Flag.END_HEADERS : 0) | (at === 0 && options.endStream ? Flag.END_STREAM : 0);
    frames.push(frameHeader(type, flags, streamId, end - at), block.subarray(at, end));
    at = end;
  } while (at < block.length);
  return frames;
}

function allocate(type: number, flags: number, streamId: number, length: number): Buffer {
  const frame = Buffer.allocUnsafe(frameHeaderSize + length);
  writeHeader(frame, type, flags, streamId, length);
  return frame;
}

function writeHeader(into: Buffer, type: number, flags: number, streamId: number, length: number): void {
  into.writeUIntBE(length, 0, 3);
  into[3] = type;
  into[4] = flags;
  into.writeUInt32BE(streamId, 5);
}
