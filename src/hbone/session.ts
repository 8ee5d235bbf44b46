import type { Duplex } from 'node:stream';

import { IsthmusError } from '../core/index.ts';
import { ErrorCode, errorCodeName, Http2Error, protocolError, sizeError } from './errors.ts';
import { FloodGuard } from './flood-guard.ts';
import { FrameReader, type FrameSink } from './frame-reader.ts';
import {
  clientPreface,
  defaultWindow,
  Flag,
  frameHeader,
  FrameType,
  goAwayFrame,
  headersFrames,
  maxWindow,
  pingFrame,
  rstStreamFrame,
  settingsAckFrame,
  settingsFrame,
  windowUpdateFrame,
} from './frames.ts';
import { HeaderBlocks, type HeaderBlock } from './header-blocks.ts';
import type { HeaderField } from './hpack/dynamic-table.ts';
import { HpackEncoder } from './hpack/encoder.ts';
import { Outbox } from './outbox.ts';
import { encodeSettings, PeerSettings, type LocalSettings } from './settings.ts';
import { TunnelStream, type StreamHost } from './stream.ts';

/** How much one stream may send before the next one has its turn, bytes. */
const sendQuantum = 128 * 1024;
/** Headers whose values repeat on a tunnel. */
const repeatingHeaders: ReadonlySet<string> = new Set(['baggage']);

export interface SessionOptions {
  /** The TLS socket; the session owns it. */
  readonly socket: Duplex;
  readonly role: 'client' | 'server';
  readonly settings: LocalSettings;
  /** A peer opened a stream (server only). `endStream`: it will send no data. */
  readonly onStream?: (stream: TunnelStream, fields: readonly HeaderField[], endStream: boolean) => void;
  /** The peer takes no new streams any more (client only). */
  readonly onGoAway?: () => void;
  /** The session is over and its socket gone; `error` unless it ended in good order. Called once. */
  readonly onClose?: (error: Error | undefined) => void;
}

/**
 * One HTTP/2 connection that carries CONNECT streams and nothing else: frames, header compression, flow control,
 * settings, pings, orderly and disorderly ends (RFC 9113). What the streams mean is the user's.
 *
 * States: `open`; `draining` (no new streams, those that are open go on); `closed`.
 */
export class Session {
  readonly peer = new PeerSettings();
  readonly #options: SessionOptions;
  readonly #socket: Duplex;
  readonly #outbox: Outbox;
  readonly #reader: FrameReader;
  readonly #headers: HeaderBlocks;
  readonly #encoder = new HpackEncoder(repeatingHeaders);
  readonly #guard = new FloodGuard();
  readonly #streams = new Map<number, TunnelStream>();
  /** Streams with something to send that is not held back by their own window, in the order of their turns. */
  readonly #ready = new Set<TunnelStream>();
  #state: 'open' | 'draining' | 'closed' = 'open';
  #nextStreamId = 1;
  #lastPeerStream = 0;
  #goAwaySent: number | undefined;
  #sendWindow = defaultWindow;
  #receiveWindow: number;
  #unacknowledged = 0;
  #prefaceLeft: number;
  #awaitedPing: { readonly opaque: Buffer; readonly done: (() => void)[] } | undefined;
  #lastReceived = Date.now();

  constructor(options: SessionOptions) {
    this.#options = options;
    const { socket, role, settings } = options;
    this.#socket = socket;
    this.#outbox = new Outbox(socket, () => {
      this.#send();
    });
    this.#reader = new FrameReader(this.#sink(), { maxFrameSize: settings.maxFrameSize, maxGathered: settings.maxHeaderListSize * 2 });
    this.#headers = new HeaderBlocks({ maxListSize: settings.maxHeaderListSize, guard: this.#guard });
    this.#receiveWindow = settings.connectionWindowSize;
    this.#prefaceLeft = role === 'server' ? clientPreface.length : 0;
    if (role === 'client') this.#outbox.push(clientPreface);
    this.#outbox.push(settingsFrame(encodeSettings(role, settings)), windowUpdateFrame(0, settings.connectionWindowSize - defaultWindow));
    socket.on('data', (chunk: Buffer) => {
      this.#receive(chunk);
    });
    socket.on('end', () => {
      this.#peerEnded();
    });
    socket.on('error', (error) => {
      this.#close(new IsthmusError('HBONE_CONNECTION_LOST', 'the tunnel broke', { cause: error }));
    });
    socket.on('close', () => {
      this.#peerEnded();
    });
  }

  get state(): 'open' | 'draining' | 'closed' {
    return this.#state;
  }

  get openStreams(): number {
    return this.#streams.size;
  }

  /** When the last bytes came from the peer, milliseconds since 1970. */
  get lastReceived(): number {
    return this.#lastReceived;
  }

  /** Opens a stream (client). Throws HBONE_CLOSED when the session takes no new ones. */
  open(fields: readonly HeaderField[]): TunnelStream {
    if (this.#state !== 'open') throw new IsthmusError('HBONE_CLOSED', 'the tunnel takes no new streams');
    const stream = this.#addStream(this.#nextStreamId);
    this.#nextStreamId += 2;
    // Stream ids are used up after 2^30 streams: this connection then ends as if the peer had said GOAWAY.
    if (this.#nextStreamId >= maxWindow) this.#drained();
    stream.sendHeaders(fields, false);
    return stream;
  }

  /** Asks for a sign of life; `done` is called when it comes. While one is awaited, further ones wait for the same. */
  ping(done: () => void): void {
    if (this.#state === 'closed') return;
    if (this.#awaitedPing !== undefined) {
      this.#awaitedPing.done.push(done);
      return;
    }
    const opaque = Buffer.alloc(8);
    opaque.writeDoubleBE(performance.now());
    this.#awaitedPing = { opaque, done: [done] };
    this.#outbox.push(pingFrame(opaque, false));
  }

  /**
   * Takes no new streams; open ones go on, and the socket is closed after the last. A server first announces it without
   * a bound, so that streams which are on their way are still taken, and sends the final GOAWAY one round trip later.
   */
  drain(): void {
    if (this.#state !== 'open') return;
    if (this.#options.role === 'client') {
      this.#drained();
      return;
    }
    if (this.#goAwaySent !== undefined) return;
    this.#goAwaySent = maxWindow;
    this.#outbox.push(goAwayFrame(maxWindow, ErrorCode.NO_ERROR));
    this.ping(() => {
      this.#goAway(ErrorCode.NO_ERROR);
      this.#drained();
    });
  }

  /** Ends everything at once: streams break with `error` (HBONE_CLOSED when none is given), the peer gets a GOAWAY. */
  destroy(error?: Error, code: ErrorCode = ErrorCode.NO_ERROR): void {
    if (this.#state === 'closed') return;
    this.#goAway(code, error instanceof Http2Error ? error.message : '');
    this.#close(error ?? new IsthmusError('HBONE_CLOSED', 'the tunnel was closed'));
  }

  #addStream(id: number): TunnelStream {
    const stream = new TunnelStream(id, this.#host, {
      send: this.peer.initialWindowSize,
      receive: this.#options.settings.initialWindowSize,
    });
    this.#streams.set(id, stream);
    return stream;
  }

  /** What streams ask of this session. */
  readonly #host: StreamHost = {
    sendHeaders: (stream, fields, endStream) => {
      this.#outbox.push(...headersFrames(stream.id, this.#encoder.encode(fields), { endStream, maxFrameSize: this.peer.maxFrameSize }));
    },
    wantsToSend: (stream) => {
      this.#ready.add(stream);
      this.#send();
    },
    sendReset: (stream, code) => {
      this.#outbox.push(rstStreamFrame(stream.id, code));
    },
    sendWindowUpdate: (streamId, increment) => {
      this.#outbox.push(windowUpdateFrame(streamId, increment));
    },
    connectionConsumed: (size) => {
      this.#unacknowledged += size;
      if (this.#unacknowledged < this.#options.settings.connectionWindowSize / 4) return;
      this.#receiveWindow += this.#unacknowledged;
      this.#outbox.push(windowUpdateFrame(0, this.#unacknowledged));
      this.#unacknowledged = 0;
    },
    forget: (stream) => {
      this.#streams.delete(stream.id);
      this.#ready.delete(stream);
      if (this.#state === 'draining' && this.#streams.size === 0) this.#close(undefined);
    },
  };

  /** Sends what windows and socket allow, one quantum a stream in turn. */
  #send(): void {
    while (!this.#outbox.full) {
      const [stream] = this.#ready;
      if (stream === undefined) return;
      this.#ready.delete(stream);
      const max = Math.min(this.#sendWindow, this.peer.maxFrameSize, sendQuantum);
      const { chunks, size } = stream.take(max);
      const end = stream.onlyEndLeft;
      if (size > 0 || end) {
        this.#sendWindow -= size;
        this.#outbox.push(frameHeader(FrameType.DATA, end ? Flag.END_STREAM : 0, stream.id, size), ...chunks);
      }
      if (end) stream.localEnd();
      else if (stream.sendable > 0) {
        this.#ready.add(stream);
        // Only the connection's window is left as a reason to stop; any other stream would wait for it as well, except for
        // one that has only its end to send, and that one comes along with the next update.
        if (this.#sendWindow === 0) return;
      } else stream.wake();
    }
  }

  #receive(chunk: Buffer): void {
    if (this.#state === 'closed') return;
    this.#lastReceived = Date.now();
    try {
      this.#reader.push(this.#prefaceLeft > 0 ? this.#readPreface(chunk) : chunk);
    } catch (error) {
      const failure = error instanceof Error ? error : new Error(String(error));
      this.destroy(failure, failure instanceof Http2Error ? failure.errorCode : ErrorCode.INTERNAL_ERROR);
    }
  }

  #readPreface(chunk: Buffer): Buffer {
    const size = Math.min(chunk.length, this.#prefaceLeft);
    const start = clientPreface.length - this.#prefaceLeft;
    if (clientPreface.compare(chunk, 0, size, start, start + size) !== 0)
      throw new Http2Error(ErrorCode.PROTOCOL_ERROR, 'not an HTTP/2 client');
    this.#prefaceLeft -= size;
    return chunk.subarray(size);
  }

  #sink(): FrameSink {
    return {
      data: (streamId, chunk, flowControlled, endStream) => {
        this.#onData(streamId, chunk, flowControlled, endStream);
      },
      frame: (type, flags, streamId, payload) => {
        if (this.#headers.incomplete && type !== FrameType.CONTINUATION)
          throw protocolError('header block is interrupted by another frame');
        if (!this.peer.received && type !== FrameType.SETTINGS) throw protocolError('the first frame is not SETTINGS');
        this.#onFrame(type, flags, streamId, payload);
      },
    };
  }

  #onFrame(type: number, flags: number, streamId: number, payload: Buffer): void {
    switch (type) {
      case FrameType.HEADERS:
        this.#onHeaderBlock(this.#headers.headers(flags, streamId, payload));
        break;
      case FrameType.CONTINUATION:
        this.#onHeaderBlock(this.#headers.continuation(flags, streamId, payload));
        break;
      case FrameType.RST_STREAM:
        this.#onReset(streamId, payload);
        break;
      case FrameType.SETTINGS:
        this.#onSettings(flags, streamId, payload);
        break;
      case FrameType.PING:
        this.#onPing(flags, streamId, payload);
        break;
      case FrameType.GOAWAY:
        this.#onGoAway(streamId, payload);
        break;
      case FrameType.WINDOW_UPDATE:
        this.#onWindowUpdate(streamId, payload);
        break;
      case FrameType.PRIORITY:
        if (streamId === 0) throw protocolError('PRIORITY without a stream');
        if (payload.length !== 5) throw sizeError('PRIORITY', payload);
        this.#guard.count('controlFrames');
        break;
      case FrameType.PUSH_PROMISE:
        throw protocolError('PUSH_PROMISE');
    }
  }

  #onData(streamId: number, chunk: Buffer, flowControlled: number, endStream: boolean): void {
    if (streamId === 0 || this.#isIdle(streamId)) throw protocolError('DATA for no open stream');
    if (this.#headers.incomplete) throw protocolError('header block is interrupted by another frame');
    if (!this.peer.received) throw protocolError('the first frame is not SETTINGS');
    this.#receiveWindow -= flowControlled;
    if (this.#receiveWindow < 0) throw new Http2Error(ErrorCode.FLOW_CONTROL_ERROR, 'more data than the connection allows');
    if (chunk.length === 0 && !endStream) this.#guard.count('emptyFrames');
    const stream = this.#streams.get(streamId);
    if (stream === undefined || stream.remoteEnded) {
      // The stream was reset here, and the peer did not know yet, or it sends after its own end.
      this.#host.connectionConsumed(flowControlled);
      stream?.reset(ErrorCode.STREAM_CLOSED, new IsthmusError('HBONE_PROTOCOL', 'data after the end of the stream'));
      return;
    }
    if (!stream.receiveData(chunk, flowControlled, endStream)) {
      stream.reset(ErrorCode.FLOW_CONTROL_ERROR, new IsthmusError('HBONE_PROTOCOL', 'more data than the stream allows'));
    }
  }

  #onHeaderBlock(block: HeaderBlock | undefined): void {
    if (block === undefined) return;
    const { streamId, fields, endStream } = block;
    const stream = this.#streams.get(streamId);
    if (stream !== undefined) {
      if (stream.remoteEnded)
        stream.reset(ErrorCode.STREAM_CLOSED, new IsthmusError('HBONE_PROTOCOL', 'headers after the end of the stream'));
      else stream.receiveHeaders(fields, endStream);
      return;
    }
    if (this.#options.role === 'client') {
      if (this.#isIdle(streamId)) throw protocolError('HEADERS for no open stream');
      return;
    }
    if (streamId % 2 === 0) throw protocolError(`client opens stream ${streamId}`);
    // A stream that is over: its late trailers are of no interest.
    if (streamId <= this.#lastPeerStream) return;
    this.#lastPeerStream = streamId;
    this.#accept(streamId, fields, endStream);
  }

  #accept(streamId: number, fields: readonly HeaderField[], endStream: boolean): void {
    if (this.#state !== 'open' || this.#streams.size >= (this.#options.settings.maxConcurrentStreams ?? Infinity)) {
      this.#guard.count('refusedStreams');
      this.#outbox.push(rstStreamFrame(streamId, ErrorCode.REFUSED_STREAM));
      return;
    }
    const stream = this.#addStream(streamId);
    if (endStream) stream.receiveHeaders(fields, true);
    this.#options.onStream?.(stream, fields, endStream);
  }

  #onReset(streamId: number, payload: Buffer): void {
    if (streamId === 0 || this.#isIdle(streamId)) throw protocolError('RST_STREAM for no open stream');
    if (payload.length !== 4) throw sizeError('RST_STREAM', payload);
    this.#guard.count('resets');
    this.#streams.get(streamId)?.receiveReset(payload.readUInt32BE(0));
  }

  #onSettings(flags: number, streamId: number, payload: Buffer): void {
    if (streamId !== 0) throw protocolError('SETTINGS on a stream');
    if ((flags & Flag.ACK) !== 0) {
      if (payload.length !== 0) throw sizeError('acknowledgement of SETTINGS', payload);
      return;
    }
    this.#guard.count('controlFrames');
    const before = this.peer.initialWindowSize;
    this.peer.apply(payload, this.#options.role);
    this.#encoder.setPeerTableSize(this.peer.headerTableSize);
    this.#outbox.push(settingsAckFrame());
    const change = this.peer.initialWindowSize - before;
    if (change === 0) return;
    for (const stream of this.#streams.values()) {
      if (!stream.widenSendWindow(change)) throw new Http2Error(ErrorCode.FLOW_CONTROL_ERROR, 'window of a stream too large');
      if (stream.sendable > 0) this.#ready.add(stream);
    }
    this.#send();
  }

  #onPing(flags: number, streamId: number, payload: Buffer): void {
    if (streamId !== 0) throw protocolError('PING on a stream');
    if (payload.length !== 8) throw sizeError('PING', payload);
    if ((flags & Flag.ACK) === 0) {
      this.#guard.count('controlFrames');
      this.#outbox.push(pingFrame(payload, true));
    } else if (this.#awaitedPing?.opaque.equals(payload) === true) {
      const { done } = this.#awaitedPing;
      this.#awaitedPing = undefined;
      for (const each of done) each();
    }
  }

  #onGoAway(streamId: number, payload: Buffer): void {
    if (streamId !== 0) throw protocolError('GOAWAY on a stream');
    if (payload.length < 8) throw sizeError('GOAWAY', payload);
    const last = payload.readUInt32BE(0) & maxWindow;
    const code = payload.readUInt32BE(4);
    for (const stream of [...this.#streams.values()]) {
      if (this.#options.role === 'client' && stream.id > last) {
        stream.fail(new IsthmusError('HBONE_CLOSED', `the peer went away before it took the stream: ${errorCodeName(code)}`));
      }
    }
    this.#options.onGoAway?.();
    this.#drained();
  }

  #onWindowUpdate(streamId: number, payload: Buffer): void {
    if (payload.length !== 4) throw sizeError('WINDOW_UPDATE', payload);
    const increment = payload.readUInt32BE(0) & maxWindow;
    if (streamId === 0) {
      if (increment === 0) throw protocolError('WINDOW_UPDATE by 0');
      this.#sendWindow += increment;
      if (this.#sendWindow > maxWindow) throw new Http2Error(ErrorCode.FLOW_CONTROL_ERROR, 'window of the connection too large');
      this.#send();
      return;
    }
    if (this.#isIdle(streamId)) throw protocolError('WINDOW_UPDATE for no open stream');
    const stream = this.#streams.get(streamId);
    if (stream === undefined) return;
    if (increment === 0) {
      stream.reset(ErrorCode.PROTOCOL_ERROR, new IsthmusError('HBONE_PROTOCOL', 'WINDOW_UPDATE by 0'));
    } else if (!stream.widenSendWindow(increment)) {
      stream.reset(ErrorCode.FLOW_CONTROL_ERROR, new IsthmusError('HBONE_PROTOCOL', 'window of the stream too large'));
    } else if (stream.sendable > 0) {
      this.#ready.add(stream);
      this.#send();
    }
  }

  /** Whether nobody has opened this stream yet. */
  #isIdle(streamId: number): boolean {
    return this.#options.role === 'client'
      ? streamId % 2 === 0 || streamId >= this.#nextStreamId
      : streamId % 2 === 0 || streamId > this.#lastPeerStream;
  }

  #goAway(code: ErrorCode, debug = ''): void {
    this.#goAwaySent = this.#lastPeerStream;
    this.#outbox.push(goAwayFrame(this.#lastPeerStream, code, debug));
  }

  #drained(): void {
    if (this.#state !== 'open') return;
    this.#state = 'draining';
    if (this.#streams.size === 0) this.#close(undefined);
  }

  /** The peer has closed its side of the socket: no answer can come any more. */
  #peerEnded(): void {
    this.#close(this.#streams.size === 0 ? undefined : new IsthmusError('HBONE_CONNECTION_LOST', 'the tunnel was closed by the peer'));
  }

  #close(error: Error | undefined): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#reader.stop();
    for (const stream of [...this.#streams.values()]) stream.fail(error);
    this.#outbox.end();
    // What was written still leaves; a peer that does not take it is not waited for.
    const socket = this.#socket;
    const timer = setTimeout(() => {
      socket.destroy();
    }, closeTimeout).unref();
    socket.once('close', () => {
      clearTimeout(timer);
    });
    socket.resume();
    this.#options.onClose?.(error);
  }
}

/** How long a closed session's socket may take to send its last bytes, milliseconds. */
const closeTimeout = 2_000;
