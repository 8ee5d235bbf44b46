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
  /** How long a leader is believed without a sign of life, seconds; default 5. */
  readonly leaseSeconds?: number;
}

/**
 * Runs `lead` while this process holds the Lease, and again whenever it gets it back; its signal is aborted when the
 * Lease is lost. On stopping the Lease is given up, so that another leads at once. Time is judged by this machine's
 * clock since a change was seen, never by the other's clock (as in client-go).
 */
export async function leadWhileElected(
  options: LeaderElectionOptions,
  lead: (signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const { client, namespace, name, identity, log } = options;
  const leaseMs = (options.leaseSeconds ?? 5) * 1000;
  let seen: { version: string; at: number } | undefined;
  let leading: { stop: AbortController; done: Promise<void> } | undefined;
  let renewedAt = 0;

  const attempt = async (): Promise<boolean> => {
    const lease = await client.find(resources.leases, { name, namespace }, signal);
    const version = lease?.metadata.resourceVersion ?? '';
    if (seen?.version !== version) seen = { version, at: performance.now() };
    const holder = lease?.spec?.holderIdentity ?? '';
    if (holder !== '' && holder !== identity && performance.now() - seen.at < leaseMs) return false;
    const now = new Date().toISOString().replace('Z', '000Z');
    const wanted: Lease = {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: lease?.metadata ?? { name, namespace },
      spec: {
        holderIdentity: identity,
        leaseDurationSeconds: Math.ceil(leaseMs / 1000),
        renewTime: now,
        acquireTime: holder === identity ? (lease?.spec?.acquireTime ?? now) : now,
        leaseTransitions: (lease?.spec?.leaseTransitions ?? 0) + (holder === identity || holder === '' ? 0 : 1),
      },
    };
    try {
      await (lease === undefined ? client.create(resources.leases, wanted) : client.update(resources.leases, wanted));
      return true;
    } catch (error) {
      if (isConflict(error) || isAlreadyExists(error)) return false;
      throw error;
    }
  };

  const stopLeading = async (): Promise<void> => {
    if (leading === undefined) return;
    leading.stop.abort(new Error('lost the lease'));
    await leading.done;
    leading = undefined;
  };

  const stopped = (): boolean => signal.aborted;
  try {
    while (!stopped()) {
      try {
        if (await attempt()) {
          renewedAt = performance.now();
          if (leading === undefined) {
            log.info({ lease: name }, 'leading');
            const stop = new AbortController();
            const both = AbortSignal.any([stop.signal, signal]);
            leading = {
              stop,
              done: lead(both).catch((error: unknown) => {
                if (!both.aborted) log.error({ lease: name, error: describeError(error) }, 'leader failed');
              }),
            };
          }
        } else {
          await stopLeading();
        }
      } catch (error) {
        if (stopped()) break;
        log.warn({ lease: name, error: describeError(error) }, 'lease not renewed');
        if (performance.now() - renewedAt > leaseMs * 0.8) await stopLeading();
      }
      await sleep(leaseMs / 4, signal);
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    const wasLeading = leading !== undefined;
    await stopLeading();
    if (wasLeading) await release(options);
  }
}

async function release({ client, namespace, name, identity, log }: LeaderElectionOptions): Promise<void> {
  try {
    const lease = await client.find(resources.leases, { name, namespace });
    if (lease?.spec?.holderIdentity !== identity) return;
    await client.update(resources.leases, { ...lease, spec: { ...lease.spec, holderIdentity: '' } });
  } catch (error) {
    log.debug({ lease: name, error: describeError(error) }, 'lease not released');
  }
}
