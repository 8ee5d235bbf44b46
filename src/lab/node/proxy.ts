import { resources } from '../../api/resources.ts';
import { Backoff, createLogger, describeError, sleep } from '../../core/index.ts';
import { Informer, type KubeClient } from '../../kube/index.ts';
import { runCommand } from '../../linux/index.ts';
import { routeServices, setLoadBalancerAddresses } from './proxy-addresses.ts';
import { deriveRules, loadBalancerAddresses } from './proxy-model.ts';
import { renderRuleset } from './proxy-ruleset.ts';

export interface ServiceProxyOptions {
  readonly client: KubeClient;
  readonly nodeName: string;
  /** The pods of this node. */
  readonly podCidr: string;
  readonly serviceCidr: string;
  /** The interface that leads to the other nodes; default `eth0`. */
  readonly uplink?: string;
  readonly signal: AbortSignal;
  /** Called after the kernel has taken over a new state, with the number of service ports. */
  readonly onApplied?: (servicePorts: number) => void;
}

/**
 * kube-proxy's work in the network namespace of this process: connections to Services' addresses go to their endpoints, by
 * nftables, whoever makes them: pods of this node, the node itself, or others that are routed here. A change is applied at
 * once; what changes while one is applied goes into the next. When the process ends, the rules stay: services work on while
 * a node agent restarts.
 */
export async function runServiceProxy(options: ServiceProxyOptions): Promise<void> {
  const { client, nodeName, podCidr, serviceCidr, uplink = 'eth0', signal, onApplied } = options;
  const log = createLogger('service-proxy');
  const services = new Informer({ client, type: resources.services, log });
  const slices = new Informer({ client, type: resources.endpointSlices, log });
  const changes = new ChangeSignal();
  services.onChange(() => changes.raise());
  slices.onChange(() => changes.raise());
  const watching = Promise.all([services.run(signal), slices.run(signal)]);
  await Promise.race([Promise.all([services.synced, slices.synced]), watching]);

  let applied: string | undefined;
  const backoff = new Backoff({ initial: 200, max: 10_000 });
  const stopped = (): boolean => signal.aborted;
  changes.raise();
  while (!stopped()) {
    await changes.wait(signal);
    if (stopped()) break;
    const rules = deriveRules(services.list(), slices.list(), nodeName);
    const ruleset = renderRuleset(rules, { podCidr, serviceCidr });
    try {
      await setLoadBalancerAddresses(new Set([...services.list()].flatMap(loadBalancerAddresses)), signal);
      if (ruleset !== applied) {
        if (applied === undefined) await routeServices(serviceCidr, uplink, signal);
        await runCommand('nft', ['-f', '-'], { input: ruleset, signal });
        applied = ruleset;
      }
      backoff.reset();
      onApplied?.(rules.length);
    } catch (error) {
      if (stopped()) break;
      const wait = backoff.next();
      log.error({ error: describeError(error), retryInMs: wait }, 'the rules of services could not be applied');
      applied = undefined;
      changes.raise();
      await sleep(wait, signal).catch(() => undefined);
    }
  }
  await watching;
}

/** Remembers that something changed until somebody looks. */
class ChangeSignal {
  #raised = false;
  #wake: (() => void) | undefined;

  raise(): void {
    this.#raised = true;
    this.#wake?.();
  }

  /** Resolves after the next change, at once if there was one; also when the signal is aborted. */
  async wait(signal: AbortSignal): Promise<void> {
    if (!this.#raised && !signal.aborted) {
      const { promise, resolve } = Promise.withResolvers<undefined>();
      const wake = (): void => resolve(undefined);
      this.#wake = wake;
      signal.addEventListener('abort', wake);
      await promise;
      signal.removeEventListener('abort', wake);
      this.#wake = undefined;
    }
    this.#raised = false;
  }
}
