import assert from 'node:assert/strict';
import { once } from 'node:events';
import net, { type AddressInfo, type Socket } from 'node:net';
import { after, describe, test } from 'node:test';

import fc from 'fast-check';

import {
  clientPreface,
  Flag,
  frameHeader,
  FrameType,
  goAwayFrame,
  headersFrames,
  pingFrame,
  rstStreamFrame,
  settingsAckFrame,
  settingsFrame,
  windowUpdateFrame,
} from './frames.ts';
import { FrameReader } from './frame-reader.ts';
import { HpackEncoder } from './hpack/encoder.ts';
import { Keepalive } from './keepalive.ts';
import { Session } from './session.ts';
import { serverSettings } from './settings.ts';
import { Tunnel } from './tunnel.ts';

const stops: (() => void)[] = [];
after(() => {
  for (const stop of stops) stop();
});

/** Two ends of a TCP connection: what a session gets, and what a test speaks on byte by byte. */
async function socketPair(): Promise<[mine: Socket, raw: Socket]> {
  const server = net.createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const raw = net.connect((server.address() as AddressInfo).port, '127.0.0.1');
  const [mine] = (await once(server, 'connection')) as [Socket];
  server.close();
  raw.on('error', () => undefined);
  stops.push(() => {
    mine.destroy();
    raw.destroy();
  });
  return [mine, raw];
}

interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
  readonly payload: Buffer;
}

/** What comes from the session, frame by frame. */
class Peer {
  readonly socket: Socket;
  readonly #frames: Frame[] = [];
  readonly #waiting: (() => void)[] = [];
  #ended = false;

  /** `preface`: bytes before the first frame, which a client sends. */
  constructor(socket: Socket, preface = 0) {
    let skip = preface;
    this.socket = socket;
    const reader = new FrameReader(
      {
        frame: (type, flags, streamId, payload) => {
          this.#frames.push({ type, flags, streamId, payload: Buffer.from(payload) });
        },
        data: (streamId, chunk, _counted, end) => {
          this.#frames.push({ type: FrameType.DATA, flags: end ? Flag.END_STREAM : 0, streamId, payload: chunk });
        },
      },
      { maxFrameSize: 1 << 24, maxGathered: 1 << 24 },
    );
    socket.on('data', (chunk: Buffer) => {
      const skipped = Math.min(skip, chunk.length);
      skip -= skipped;
      reader.push(chunk.subarray(skipped));
      this.#wake();
    });
    socket.once('close', () => {
      this.#ended = true;
      this.#wake();
    });
  }

  /** The next frame of a type; those before it are dropped. Undefined when the connection ends first. */
  async next(type: number): Promise<Frame | undefined> {
    for (;;) {
      const frame = this.#frames.shift();
      if (frame?.type === type) return frame;
      if (frame !== undefined) continue;
      if (this.#ended) return undefined;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  #wake(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }
}

/** A server session, and a client that has said its preface and settings. */
async function serverWith(...frames: readonly Buffer[]): Promise<{ peer: Peer; closed: Promise<Error | undefined>; session: Session }> {
  const [mine, raw] = await socketPair();
  const { promise: closed, resolve } = Promise.withResolvers<Error | undefined>();
  const session = new Session({
    socket: mine,
    role: 'server',
    settings: serverSettings,
    onClose: resolve,
    onStream: (stream) => {
      stream.use({
        data: (chunk) => {
          stream.consumed(chunk.length);
        },
        end: () => undefined,
        room: () => undefined,
        closed: () => undefined,
      });
      stream.sendHeaders([[':status', '200']], false);
    },
  });
  const peer = new Peer(raw);
  raw.write(Buffer.concat([clientPreface, settingsFrame([]), ...frames]));
  return { peer, closed, session };
}

const connectBlock = (): Buffer =>
  new HpackEncoder().encode([
    [':method', 'CONNECT'],
    [':authority', 'a:1'],
  ]);
const connect = (streamId: number): Buffer =>
  Buffer.concat(headersFrames(streamId, connectBlock(), { endStream: false, maxFrameSize: 16_384 }));
const data = (streamId: number, size: number): Buffer =>
  Buffer.concat([frameHeader(FrameType.DATA, 0, streamId, size), Buffer.alloc(size)]);
const names: Record<number, string> = {
  1: 'PROTOCOL_ERROR',
  3: 'FLOW_CONTROL_ERROR',
  5: 'STREAM_CLOSED',
  6: 'FRAME_SIZE_ERROR',
  7: 'REFUSED_STREAM',
  9: 'COMPRESSION_ERROR',
  11: 'ENHANCE_YOUR_CALM',
};

describe('a peer that breaks the rules is told by GOAWAY and gone', () => {
  const raw = (type: number, flags: number, streamId: number, payload: Buffer): Buffer =>
    Buffer.concat([frameHeader(type, flags, streamId, payload.length), payload]);
  const cases: Record<string, { frames: Buffer[]; error: string }> = {
    'a frame over the announced size': { frames: [frameHeader(FrameType.DATA, 0, 1, 1_048_577)], error: 'FRAME_SIZE_ERROR' },
    'DATA on a stream that nobody opened': { frames: [data(1, 1)], error: 'PROTOCOL_ERROR' },
    'DATA without a stream': { frames: [data(0, 1)], error: 'PROTOCOL_ERROR' },
    'RST_STREAM of a stream that nobody opened': { frames: [rstStreamFrame(1, 8)], error: 'PROTOCOL_ERROR' },
    'WINDOW_UPDATE of a stream that nobody opened': { frames: [windowUpdateFrame(1, 1)], error: 'PROTOCOL_ERROR' },
    'WINDOW_UPDATE by nothing': { frames: [windowUpdateFrame(0, 0)], error: 'PROTOCOL_ERROR' },
    'a window beyond 2^31-1': { frames: [windowUpdateFrame(0, 0x7fff_ffff)], error: 'FLOW_CONTROL_ERROR' },
    'streams with even numbers': { frames: [connect(2)], error: 'PROTOCOL_ERROR' },
    'CONTINUATION out of nowhere': { frames: [raw(FrameType.CONTINUATION, Flag.END_HEADERS, 1, connectBlock())], error: 'PROTOCOL_ERROR' },
    'a header block that another frame interrupts': {
      frames: [raw(FrameType.HEADERS, 0, 1, connectBlock()), pingFrame(Buffer.alloc(8), false)],
      error: 'PROTOCOL_ERROR',
    },
    'a header block that cannot be read': {
      frames: [raw(FrameType.HEADERS, Flag.END_HEADERS, 1, Buffer.of(0xff, 0xff, 0xff, 0xff, 0xff, 0xff))],
      error: 'COMPRESSION_ERROR',
    },
    'a header block without end': {
      frames: [
        raw(FrameType.HEADERS, 0, 1, connectBlock()),
        ...Array.from({ length: 5 }, () => raw(FrameType.CONTINUATION, 0, 1, Buffer.alloc(16_000))),
      ],
      error: 'ENHANCE_YOUR_CALM',
    },
    PUSH_PROMISE: { frames: [raw(FrameType.PUSH_PROMISE, 0, 1, Buffer.alloc(4))], error: 'PROTOCOL_ERROR' },
    'SETTINGS of odd length': { frames: [raw(FrameType.SETTINGS, 0, 0, Buffer.alloc(5))], error: 'FRAME_SIZE_ERROR' },
    'a frame size below the least': { frames: [settingsFrame([[5, 1_000]])], error: 'PROTOCOL_ERROR' },
    'a window beyond the largest in SETTINGS': { frames: [settingsFrame([[4, 0x8000_0000]])], error: 'FLOW_CONTROL_ERROR' },
    'PING of odd length': { frames: [raw(FrameType.PING, 0, 0, Buffer.alloc(7))], error: 'FRAME_SIZE_ERROR' },
    'a flood of pings': {
      frames: [Buffer.concat(Array.from({ length: 1_100 }, () => pingFrame(Buffer.alloc(8), false)))],
      error: 'ENHANCE_YOUR_CALM',
    },
    'a flood of empty frames': {
      frames: [connect(1), Buffer.concat(Array.from({ length: 1_100 }, () => data(1, 0)))],
      error: 'ENHANCE_YOUR_CALM',
    },
    'streams opened and reset in a row': {
      frames: [
        Buffer.concat(
          Array.from({ length: 2_100 }, (_, index) => Buffer.concat([connect(index * 2 + 1), rstStreamFrame(index * 2 + 1, 8)])),
        ),
      ],
      error: 'ENHANCE_YOUR_CALM',
    },
  };
  for (const [what, { frames, error }] of Object.entries(cases)) {
    test(what, async () => {
      const { peer, closed } = await serverWith(...frames);
      const goAway = await peer.next(FrameType.GOAWAY);
      assert.equal(names[goAway?.payload.readUInt32BE(4) ?? -1], error);
      assert.match((await closed)?.message ?? '', new RegExp(error));
      assert.equal(await peer.next(-1), undefined, 'the connection is closed');
    });
  }

  test('what is not HTTP/2', async () => {
    const [mine, raw2] = await socketPair();
    const { promise: closed, resolve } = Promise.withResolvers<Error | undefined>();
    const session = new Session({ socket: mine, role: 'server', settings: serverSettings, onClose: resolve });
    raw2.resume().write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    assert.match((await closed)?.message ?? '', /not an HTTP\/2 client/);
    assert.equal(session.state, 'closed');
  });

  test('whatever bytes arrive, the session stays or ends with an error, and nothing is thrown', async () => {
    const [mine, raw3] = await socketPair();
    mine.destroy();
    raw3.destroy();
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.oneof(
            fc.uint8Array({ maxLength: 60 }),
            fc.constantFrom(connect(1), data(1, 10), rstStreamFrame(1, 0), settingsAckFrame(), goAwayFrame(0, 0)),
          ),
        ),
        async (chunks) => {
          const { peer, closed, session } = await serverWith(...chunks.map((chunk) => Buffer.from(chunk)));
          peer.socket.end();
          await closed;
          assert.equal(session.state, 'closed');
          peer.socket.destroy();
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe('a stream that goes wrong ends alone', () => {
  test('more data than its window', async () => {
    const [mine, raw] = await socketPair();
    const session = new Session({ socket: mine, role: 'server', settings: serverSettings });
    const peer = new Peer(raw);
    // Nobody takes the first stream's data, so its window of 4 MiB is used up; the second one is not concerned.
    raw.write(
      Buffer.concat([
        clientPreface,
        settingsFrame([]),
        connect(1),
        connect(3),
        ...Array.from({ length: 4 }, () => data(1, 1_048_576)),
        data(3, 1),
        data(1, 1),
      ]),
    );
    const reset = await peer.next(FrameType.RST_STREAM);
    assert.deepEqual([reset?.streamId, names[reset?.payload.readUInt32BE(0) ?? -1]], [1, 'FLOW_CONTROL_ERROR']);
    assert.equal(session.openStreams, 1);
    session.destroy();
  });

  test('data after its end is refused with STREAM_CLOSED', async () => {
    const end = Buffer.concat([frameHeader(FrameType.DATA, Flag.END_STREAM, 1, 0)]);
    const { peer } = await serverWith(connect(1), end, data(1, 5), pingFrame(Buffer.alloc(8), false));
    const reset = await peer.next(FrameType.RST_STREAM);
    assert.equal(names[reset?.payload.readUInt32BE(0) ?? -1], 'STREAM_CLOSED');
    assert.ok(await peer.next(FrameType.PING));
  });

  test('more streams than announced are refused one by one', async () => {
    const { peer, session } = await serverWith(...Array.from({ length: 201 }, (_, index) => connect(index * 2 + 1)));
    const reset = await peer.next(FrameType.RST_STREAM);
    assert.deepEqual([reset?.streamId, names[reset?.payload.readUInt32BE(0) ?? -1]], [401, 'REFUSED_STREAM']);
    assert.equal(session.openStreams, 200);
  });
});

describe('sending', () => {
  test('keeps to windows and frame size, and goes on when they widen', async () => {
    const [mine, raw] = await socketPair();
    const peer = new Peer(raw);
    let stream: Parameters<NonNullable<ConstructorParameters<typeof Session>[0]['onStream']>>[0] | undefined;
    const opened = new Promise<void>((resolve) => {
      const session = new Session({
        socket: mine,
        role: 'server',
        settings: serverSettings,
        onStream: (made) => {
          stream = made;
          made.use({ data: () => undefined, end: () => undefined, room: () => undefined, closed: () => undefined });
          made.sendHeaders([[':status', '200']], false);
          resolve();
        },
      });
      stops.push(() => {
        session.destroy();
      });
    });
    // 100 bytes for each stream; the connection has its usual 65535.
    raw.write(Buffer.concat([clientPreface, settingsFrame([[4, 100]]), connect(1)]));
    await opened;
    const body = Buffer.from(Array.from({ length: 250 }, (_, index) => index));
    assert.equal(stream?.write(body), false);
    stream.end();
    const received: Buffer[] = [];
    const take = async (): Promise<Frame> => {
      const frame = await peer.next(FrameType.DATA);
      assert.ok(frame);
      received.push(frame.payload);
      return frame;
    };
    assert.equal((await take()).payload.length, 100);
    raw.write(windowUpdateFrame(1, 50));
    assert.equal((await take()).payload.length, 50);
    // A larger initial window counts for streams that are open, too.
    raw.write(settingsFrame([[4, 10_000]]));
    const last = await take();
    assert.equal(last.payload.length, 100);
    assert.equal(last.flags & Flag.END_STREAM, Flag.END_STREAM);
    assert.deepEqual(Buffer.concat(received), body);
  });

  test('a peer gets no larger frames than it takes', async () => {
    const [mine, raw] = await socketPair();
    const body = Buffer.alloc(60_000, 'x');
    const session = new Session({
      socket: mine,
      role: 'server',
      settings: serverSettings,
      onStream: (stream) => {
        stream.use({ data: () => undefined, end: () => undefined, room: () => undefined, closed: () => undefined });
        stream.sendHeaders([[':status', '200']], false);
        stream.write(body);
      },
    });
    const sizes: number[] = [];
    const peer = new Peer(raw);
    raw.write(Buffer.concat([clientPreface, settingsFrame([]), connect(1)]));
    // The reader passes DATA on in pieces: frame sizes are seen in the raw bytes, from their headers.
    const bytes: Buffer[] = [];
    raw.on('data', (chunk: Buffer) => bytes.push(chunk));
    for (let received = 0; received < body.length;) received += (await peer.next(FrameType.DATA))?.payload.length ?? body.length;
    const all = Buffer.concat(bytes);
    for (let at = 0; at < all.length; at += 9 + all.readUIntBE(at, 3))
      if (all[at + 3] === FrameType.DATA) sizes.push(all.readUIntBE(at, 3));
    assert.deepEqual(sizes, [16_384, 16_384, 16_384, 10_848]);
    session.destroy();
  });
});

describe('signs of life', () => {
  test('a tunnel whose peer does not answer pings breaks', async () => {
    const [mine, raw] = await socketPair();
    raw.resume().write(settingsFrame([]));
    const { promise: closed, resolve } = Promise.withResolvers<Error | undefined>();
    const tunnel = new Tunnel({ socket: mine, keepalive: { interval: 20, timeout: 30 }, onClose: resolve });
    const failure = (await closed) as Error & { code?: string };
    assert.equal(failure.code, 'HBONE_CONNECTION_LOST');
    assert.equal(tunnel.usable, false);
  });

  test('a tunnel whose peer answers stays', async () => {
    const { peer, session } = await serverWith();
    const keepalive = new Keepalive(session, { interval: 5, timeout: 1_000 });
    for (let index = 0; index < 3; index++) {
      const ping = await peer.next(FrameType.PING);
      assert.ok(ping);
      peer.socket.write(pingFrame(ping.payload, true));
    }
    keepalive.stop();
    assert.equal(session.state, 'open');
  });

  test('a request after silence finds out at once that the peer is gone', async () => {
    const [mine, raw] = await socketPair();
    const peer = new Peer(raw, clientPreface.length);
    raw.write(settingsFrame([]));
    const tunnel = new Tunnel({ socket: mine, probeTimeout: 30, probeAfter: 0, keepalive: { interval: 60_000, timeout: 60_000 } });
    await assert.rejects(tunnel.connect('a:1', []), { code: 'HBONE_CONNECTION_LOST' });
    assert.equal(tunnel.usable, false);
    assert.equal(mine.destroyed, false, 'streams that are open are left to the keepalive');
    // A late sign of life makes it usable again.
    const ping = await peer.next(FrameType.PING);
    assert.ok(ping);
    raw.write(pingFrame(ping.payload, true));
    while (!tunnel.usable) await new Promise(setImmediate);
    tunnel.destroy();
  });
});
