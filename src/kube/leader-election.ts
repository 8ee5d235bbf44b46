import type { Lease } from '../api/kubernetes.ts';
import { resources } from '../api/resources.ts';
import { describeError, sleep, type Logger } from '../core/index.ts';
import { isAlreadyExists, isConflict } from './api-error.ts';
import type { KubeClient } from './client.ts';

export interface LeaderElectionOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  /** The Lease's name. */
  readonly name: string;
  /** Who we are; unique per process, usually the pod's name. */
  readonly identity: string;
  readonly log: Logger;
  /** How long a leader is believed without a sign of life, milliseconds; default 3 s. */
  readonly leaseMs?: number | undefined;
  /** A leader that could not renew for so long stops leading, milliseconds; less than the lease, default two thirds of it. */
  readonly renewDeadlineMs?: number | undefined;
  /** How often those who do not lead look, milliseconds; default a sixth of the lease. A leader renews after a third of it. */
  readonly retryMs?: number | undefined;
}

/**
 * What only the leader may do, until the signal is aborted, by a client that sends no write once the term is over by the clock. A process
 * that was stopped or starved for longer than its Lease gets to its timers, and so to the signal, later than to what it was about to do.
 */
export type Lead = (signal: AbortSignal, client: KubeClient) => Promise<void>;

/**
 * Runs `lead` while this process holds the Lease, and again whenever it gets it back; its signal is aborted when the
 * Lease is lost. On stopping the Lease is given up, so that another leads at once. Rejects with what `lead` throws.
 *
 * Never do two lead: time is judged by this machine's clock since a change was seen, never by the other's clock (as in
 * client-go), and a leader counts its deadline, which is shorter, from before it asked for the renewal.
 */
export async function leadWhileElected(options: LeaderElectionOptions, lead: Lead, signal: AbortSignal): Promise<void> {
  const { name, log, client } = options;
  const { leaseMs = 3_000 } = options;
  const { renewDeadlineMs = (leaseMs * 2) / 3, retryMs = leaseMs / 6 } = options;
  const candidate = new Candidate(options, leaseMs);
  const failed = new AbortController();
  const until = AbortSignal.any([signal, failed.signal]);
  const stopped = (): boolean => until.aborted;
  let term: Term | undefined;
  const endTerm = async (): Promise<void> => {
    if (term !== undefined) log.info({ lease: name }, 'leading no more');
    await term?.end();
    term = undefined;
  };
  try {
    while (!stopped()) {
      let waitMs = retryMs;
      const askedAt = performance.now();
      try {
        const expiresInMs = await candidate.attempt(AbortSignal.any([until, AbortSignal.timeout(renewDeadlineMs)]));
        if (term?.isOver === true) await endTerm();
        if (expiresInMs === undefined) {
          const deadline = askedAt + renewDeadlineMs;
          // An answer that is read too late says nothing of who leads now.
          if (performance.now() >= deadline) continue;
          if (term === undefined) {
            log.info({ lease: name }, 'leading');
            term = new Term({ lead, client, deadline, signal: until, onFailure: (error) => failed.abort(error) });
          } else term.extendUntil(deadline);
          waitMs = leaseMs / 3;
        } else {
          await endTerm();
          waitMs = Math.min(retryMs, Math.max(1, expiresInMs));
        }
      } catch (error) {
        if (stopped()) break;
        // Whoever leads goes on until its deadline.
        log.warn({ lease: name, error: describeError(error) }, 'lease not renewed');
      }
      await sleep(waitMs, until).catch(() => undefined);
    }
  } finally {
    await endTerm();
    await candidate.release(AbortSignal.timeout(renewDeadlineMs));
  }
  if (failed.signal.aborted) throw failed.signal.reason as Error;
}

/** The time from an election until the Lease is lost. */
class Term {
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #deadline = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: {
    readonly lead: Lead;
    readonly client: KubeClient;
    /** See {@link extendUntil}. */
    readonly deadline: number;
    readonly signal: AbortSignal;
    readonly onFailure: (error: unknown) => void;
  }) {
    const { lead, client, deadline, signal, onFailure } = options;
    const leading = AbortSignal.any([signal, this.#stop.signal]);
    this.extendUntil(deadline);
    const guarded = client.guardedBy(() => {
      if (this.isOver || leading.aborted) throw leading.reason;
    });
    this.#running = lead(leading, guarded).catch((error: unknown) => {
      if (!leading.aborted) onFailure(error);
    });
  }

  get isOver(): boolean {
    if (performance.now() >= this.#deadline) this.#expire();
    return this.#stop.signal.aborted;
  }

  /** By the monotonic clock, milliseconds. */
  extendUntil(deadline: number): void {
    this.#deadline = deadline;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#expire(), Math.max(0, deadline - performance.now()));
  }

  #expire(): void {
    this.#stop.abort(new Error('the lease could not be renewed'));
  }

  /** Resolves when `lead` has returned. */
  async end(): Promise<void> {
    clearTimeout(this.#timer);
    this.#stop.abort(new Error('lost the lease'));
    await this.#running;
  }
}

/** One who wants a Lease, and what it knows of it. */
class Candidate {
  readonly #options: LeaderElectionOptions;
  readonly #leaseMs: number;
  /** As we wrote it last; undefined when it is not ours. */
  #held: Lease | undefined;
  /** Whether it may be ours. */
  #wrote = false;
  #seen: { readonly version: string; readonly at: number } | undefined;
  constructor(options: LeaderElectionOptions, leaseMs: number) {
    this.#options = options;
    this.#leaseMs = leaseMs;
  }

  /** Takes or renews the Lease: undefined when it is ours now, else the milliseconds after which its holder is believed no more. */
  async attempt(signal: AbortSignal): Promise<number | undefined> {
    const { client, namespace, name, identity } = this.#options;
    const held = this.#held;
    this.#held = undefined;
    if (held !== undefined && (await this.#write(held, signal))) return undefined;
    // Somebody wrote it; perhaps only an annotation.
    const lease = await client.find(resources.leases, { name, namespace }, signal);
    const version = lease?.metadata.resourceVersion ?? '';
    const now = performance.now();
    if (this.#seen?.version !== version) this.#seen = { version, at: now };
    const holder = lease?.spec?.holderIdentity ?? '';
    const remaining = this.#seen.at + this.#leaseMs - now;
    if (holder !== '' && holder !== identity && remaining > 0) return remaining;
    return (await this.#write(lease, signal)) ? undefined : 0;
  }

  /** False when somebody else was faster. */
  async #write(lease: Lease | undefined, signal: AbortSignal): Promise<boolean> {
    const { client } = this.#options;
    const wanted = this.#renewed(lease);
    this.#wrote = true;
    try {
      this.#held =
        lease === undefined
          ? await client.create(resources.leases, wanted, { signal })
          : await client.update(resources.leases, wanted, { signal });
      return true;
    } catch (error) {
      if (isConflict(error) || isAlreadyExists(error)) return false;
      throw error;
    }
  }

  /** Gives up the Lease if it is ours. */
  async release(signal: AbortSignal): Promise<void> {
    const { client, namespace, name, identity, log } = this.#options;
    if (!this.#wrote) return;
    try {
      // A renewal that was cut off may have been written.
      const lease = this.#held ?? (await client.find(resources.leases, { name, namespace }, signal));
      if (lease?.spec?.holderIdentity !== identity) return;
      await client.update(resources.leases, { ...lease, spec: { ...lease.spec, holderIdentity: '' } }, { signal });
    } catch (error) {
      log.debug({ lease: name, error: describeError(error) }, 'lease not released');
    }
  }

  #renewed(lease: Lease | undefined): Lease {
    const { namespace, name, identity } = this.#options;
    const holder = lease?.spec?.holderIdentity ?? '';
    const now = new Date().toISOString().replace('Z', '000Z');
    return {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: lease?.metadata ?? { name, namespace },
      spec: {
        holderIdentity: identity,
        leaseDurationSeconds: Math.ceil(this.#leaseMs / 1000),
        renewTime: now,
        acquireTime: holder === identity ? (lease?.spec?.acquireTime ?? now) : now,
        leaseTransitions: (lease?.spec?.leaseTransitions ?? 0) + (holder === identity || holder === '' ? 0 : 1),
      },
    };
  }
}
