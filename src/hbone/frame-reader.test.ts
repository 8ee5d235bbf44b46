import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import { FrameReader } from './frame-reader.ts';
import {
  Flag,
  frameHeader,
  FrameType,
  goAwayFrame,
  headersFrames,
  pingFrame,
  rstStreamFrame,
  settingsFrame,
  windowUpdateFrame,
} from './frames.ts';

type Seen =
  | { readonly type: number; readonly flags: number; readonly streamId: number; readonly payload: string }
  | { readonly streamId: number; readonly data: string; readonly counted: number; readonly end: boolean };

/** What a reader reports, with the pieces of one DATA frame put together as far as their stream goes. */
function read(chunks: readonly Buffer[], maxFrameSize = 1 << 20, maxGathered = 1 << 20): Seen[] {
  const seen: Seen[] = [];
  const reader = new FrameReader(
    {
      frame: (type, flags, streamId, payload) => {
        seen.push({ type, flags, streamId, payload: payload.toString('hex') });
      },
      data: (streamId, chunk, counted, end) => {
        const last = seen.at(-1);
        if (last !== undefined && 'data' in last && last.streamId === streamId && !last.end) {
          seen[seen.length - 1] = { streamId, data: last.data + chunk.toString('hex'), counted: last.counted + counted, end };
        } else seen.push({ streamId, data: chunk.toString('hex'), counted, end });
      },
    },
    { maxFrameSize, maxGathered },
  );
  for (const chunk of chunks) reader.push(chunk);
  return seen;
}

function cut(bytes: Buffer, sizes: readonly number[]): Buffer[] {
  const chunks: Buffer[] = [];
  let at = 0;
  for (let index = 0; at < bytes.length; index++) {
    const size = sizes[index % sizes.length] ?? 1;
    chunks.push(bytes.subarray(at, at + size));
    at += size;
  }
  return chunks;
}

const id = fc.integer({ min: 1, max: 0x7fff_ffff });
const data = fc
  .record({ streamId: id, content: fc.uint8Array({ maxLength: 400 }), padding: fc.option(fc.nat(255)), end: fc.boolean() })
  .map(({ streamId, content, padding, end }) => {
    const flags = (end ? Flag.END_STREAM : 0) | (padding === null ? 0 : Flag.PADDED);
    const payload = padding === null ? Buffer.from(content) : Buffer.concat([Buffer.of(padding), content, Buffer.alloc(padding)]);
    return Buffer.concat([frameHeader(FrameType.DATA, flags, streamId, payload.length), payload]);
  });
const other = fc.oneof(
  fc.tuple(id, fc.nat(0x7fff_ffff)).map(([streamId, increment]) => windowUpdateFrame(streamId, increment)),
  fc.tuple(id, fc.nat(13)).map(([streamId, code]) => rstStreamFrame(streamId, code)),
  fc.array(fc.tuple(fc.nat(0xffff), fc.nat(0xffff_ffff)), { maxLength: 6 }).map(settingsFrame),
  fc.uint8Array({ minLength: 8, maxLength: 8 }).map((opaque) => pingFrame(opaque, false)),
  fc.string().map((debug) => goAwayFrame(7, 2, debug)),
  fc
    .tuple(id, fc.uint8Array({ minLength: 1, maxLength: 300 }))
    .map(([streamId, block]) => Buffer.concat(headersFrames(streamId, Buffer.from(block), { endStream: false, maxFrameSize: 100 }))),
  // A type that nobody knows is skipped.
  fc.uint8Array({ maxLength: 100 }).map((payload) => Buffer.concat([frameHeader(0xfa, 0xff, 3, payload.length), payload])),
);

describe('FrameReader', () => {
  test('reads the same frames however the bytes are cut', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(data, other), { maxLength: 12 }),
        fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1 }),
        (frames, sizes) => {
          const bytes = Buffer.concat(frames);
          assert.deepEqual(read(cut(bytes, sizes)), read([bytes]));
        },
      ),
    );
  });

  test('gives back content, padding and flags of DATA', () => {
    const frame = Buffer.concat([frameHeader(FrameType.DATA, Flag.END_STREAM | Flag.PADDED, 5, 7), Buffer.from('\x02helo\0\0', 'latin1')]);
    for (let at = 1; at < frame.length; at++) {
      assert.deepEqual(read([frame.subarray(0, at), frame.subarray(at)]), [
        { streamId: 5, data: Buffer.from('helo').toString('hex'), counted: 7, end: true },
      ]);
    }
  });

  test('passes on an empty DATA frame', () => {
    assert.deepEqual(read([frameHeader(FrameType.DATA, Flag.END_STREAM, 1, 0)]), [{ streamId: 1, data: '', counted: 0, end: true }]);
  });

  const broken: Record<string, { bytes: Buffer; error: RegExp }> = {
    'a frame over the announced size': { bytes: frameHeader(FrameType.DATA, 0, 1, 20_000), error: /FRAME_SIZE_ERROR/ },
    'padding longer than the frame': {
      bytes: Buffer.concat([frameHeader(FrameType.DATA, Flag.PADDED, 1, 3), Buffer.of(3, 0, 0)]),
      error: /PROTOCOL_ERROR/,
    },
    'a padded frame of no bytes': { bytes: frameHeader(FrameType.DATA, Flag.PADDED, 1, 0), error: /FRAME_SIZE_ERROR/ },
    'headers that would have to be kept': { bytes: frameHeader(FrameType.HEADERS, 0, 1, 9_000), error: /ENHANCE_YOUR_CALM/ },
  };
  for (const [what, { bytes, error }] of Object.entries(broken)) {
    test(`refuses ${what}`, () => {
      assert.throws(() => read([bytes], 16_384, 8_192), error);
    });
  }
});
