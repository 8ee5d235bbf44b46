import { ErrorCode, Http2Error } from './errors.ts';

/**
 * How many frames of each kind a peer may send in one second. They cost it nothing and us an answer or bookkeeping; no
 * honest tunnel comes near.
 */
const perSecond = {
  /** PING, SETTINGS, PRIORITY. */
  controlFrames: 1_000,
  /** RST_STREAM: opening and resetting streams in a row ("rapid reset"). */
  resets: 2_000,
  /** DATA and CONTINUATION without content. */
  emptyFrames: 1_000,
  /** Streams over the announced limit. */
  refusedStreams: 1_000,
} as const;

/** Ends the connection with ENHANCE_YOUR_CALM when a peer sends too many of the frames that cost more than they bring. */
export class FloodGuard {
  readonly #counts = { controlFrames: 0, resets: 0, emptyFrames: 0, refusedStreams: 0 };
  #windowStart = 0;

  count(kind: keyof typeof perSecond): void {
    const now = performance.now();
    if (now - this.#windowStart > 1000) {
      this.#windowStart = now;
      this.#counts.controlFrames = this.#counts.resets = this.#counts.emptyFrames = this.#counts.refusedStreams = 0;
    }
    this.#counts[kind] += 1;
    if (this.#counts[kind] > perSecond[kind])
      throw new Http2Error(ErrorCode.ENHANCE_YOUR_CALM, `more than ${perSecond[kind]} ${kind} in a second`);
  }
}
