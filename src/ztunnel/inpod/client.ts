import { Backoff, describeError, IsthmusError, sleep, type Logger } from '../../core/index.ts';
import { connectSeqpacket, type SeqpacketConnection, type SeqpacketMessage } from '../../linux/index.ts';
import { Pods, type StartPodProxy } from './pods.ts';
import { ackPacket, helloPacket, maxZdsPacket, parseRequest, type ZdsMessage } from './zds.ts';

export interface InPodOptions {
  /** The CNI agent's socket; upstream's INPOD_UDS, /var/run/ztunnel/ztunnel.sock. */
  readonly path: string;
  readonly start: StartPodProxy;
  /** Called with true when the agent's snapshot is complete and all pods' proxies are up, with false when that ends. */
  readonly onReady: (ready: boolean) => void;
  /** What open connections get when the process stops, milliseconds. */
  readonly drainDeadlineMs: number;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** Milliseconds between attempts to start a pending pod's proxy; default 5000. */
  readonly retryMs?: number;
}

/**
 * Serves the pods that the CNI agent hands over, until the signal is aborted; then drains them. While the agent is away the
 * pods' proxies go on, and it is called again with growing waits (20 ms to 15 s).
 *
 * Rejects with ZTUNNEL_ZDS_PROTOCOL, after draining, when the agent breaks the protocol's rules: versions that do not fit
 * together cannot be mended by calling again, so the process has to end (upstream does the same).
 */
export async function runInPod(options: InPodOptions): Promise<void> {
  const { log, signal, onReady } = options;
  const pods = new Pods({ start: options.start, log });
  const connecting = new Backoff({ initial: 20, max: 15_000 });
  try {
    while (!signal.aborted) {
      const connection = await connect(options, connecting);
      if (connection === undefined) break;
      const session = new Session(connection, pods, options);
      try {
        await session.run();
        log.info('CNI agent closed the connection');
      } catch (error) {
        if (error instanceof IsthmusError && error.code === 'ZTUNNEL_ZDS_PROTOCOL') throw error;
        log.warn({ error: describeError(error) }, 'connection to the CNI agent ended');
      } finally {
        connection.close();
        onReady(false);
      }
      if (session.wasReady) connecting.reset();
      // An agent that accepts and closes at once must not be called in a tight loop.
      else await pause(connecting.next(), signal);
    }
  } finally {
    onReady(false);
    await pods.drain(options.drainDeadlineMs);
  }
}

/** The agent's connection; undefined when the signal is aborted first. */
async function connect(options: InPodOptions, backoff: Backoff): Promise<SeqpacketConnection | undefined> {
  while (!options.signal.aborted) {
    try {
      return connectSeqpacket(options.path, { maxPacket: maxZdsPacket });
    } catch (error) {
      const wait = backoff.next();
      options.log.warn({ path: options.path, error: describeError(error), retryMs: wait }, 'CNI agent cannot be reached, is it healthy?');
      await pause(wait, options.signal);
    }
  }
  return undefined;
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, signal).catch(() => undefined);
}

/** One connection: hello, then each request answered in turn. */
class Session {
  /** Whether it has got as far as a complete snapshot. */
  wasReady = false;
  readonly #connection: SeqpacketConnection;
  readonly #pods: Pods;
  readonly #options: InPodOptions;

  constructor(connection: SeqpacketConnection, pods: Pods, options: InPodOptions) {
    this.#connection = connection;
    this.#pods = pods;
    this.#options = options;
  }

  /** Until the agent closes, the signal is aborted, or something breaks. */
  async run(): Promise<void> {
    const close = (): void => {
      this.#connection.close();
    };
    this.#options.signal.addEventListener('abort', close, { once: true });
    this.#pods.beginSnapshot();
    try {
      await this.#connection.send(helloPacket());
      for (;;) {
        const packet = await this.#nextPacket();
        if (packet === undefined) return;
        await this.#answer(packet);
      }
    } finally {
      this.#options.signal.removeEventListener('abort', close);
    }
  }

  /** Waits for a packet, and starts pending pods again in the meantime. */
  async #nextPacket(): Promise<SeqpacketMessage | undefined> {
    const packet = this.#connection.receive();
    const { retryMs = 5000 } = this.#options;
    while (this.#pods.pending.length > 0) {
      const timer = Promise.withResolvers<'retry'>();
      const timeout = setTimeout(() => {
        timer.resolve('retry');
      }, retryMs);
      const first = await Promise.race([packet, timer.promise]);
      clearTimeout(timeout);
      if (first !== 'retry') return first;
      await this.#pods.retryPending();
      this.#report();
    }
    return await packet;
  }

  async #answer(packet: SeqpacketMessage): Promise<void> {
    let message: ZdsMessage;
    try {
      message = parseRequest(packet);
    } catch (error) {
      await this.#connection.send(refusal('failure to read message', error));
      throw error;
    }
    try {
      await this.#pods.handle(message);
    } catch (error) {
      this.#report();
      if (error instanceof IsthmusError && error.code === 'ZTUNNEL_POD_PENDING') {
        this.#options.log.error({ error: describeError(error) }, 'pod is pending');
        await this.#connection.send(refusal('failure to start proxy', error));
        return;
      }
      await this.#connection.send(refusal('failure to process message', error));
      throw error;
    }
    this.#report();
    await this.#connection.send(ackPacket());
  }

  #report(): void {
    this.wasReady ||= this.#pods.ready;
    this.#options.onReady(this.#pods.ready);
  }
}

/** An ack with an error, in upstream's words as far as they are fixed; short enough for a packet. */
function refusal(what: string, error: unknown): Uint8Array {
  return ackPacket(`${what} : ${describeError(error)}`.slice(0, 300));
}
