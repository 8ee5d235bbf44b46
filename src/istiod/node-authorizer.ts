import type { Pod } from '../api/kubernetes.ts';
import { indexBy, type Collection, type Graph, type Index } from '../collections/index.ts';
import { IsthmusError } from '../core/index.ts';
import type { SpiffeIdentity } from '../pki/index.ts';
import type { Caller } from './callers.ts';

/**
 * Decides which workloads' certificates a node's proxy may have: those of the service accounts of pods on its own node.
 */
export class NodeAuthorizer {
  readonly #pods: Collection<Pod>;
  readonly #byNodeAndAccount: Index<Pod>;
  readonly #trustedAccounts: ReadonlySet<string>;

  constructor(options: { readonly graph: Graph; readonly pods: Collection<Pod>; readonly trustedAccounts: ReadonlySet<string> }) {
    this.#pods = options.pods;
    this.#trustedAccounts = options.trustedAccounts;
    this.#byNodeAndAccount = indexBy(options.graph, options.pods, {
      name: 'podsByNodeAndAccount',
      keysOf: ({ metadata, spec, status }) => {
        // A pod counts from its scheduling on: its proxy asks before it runs.
        const over = status?.phase === 'Succeeded' || status?.phase === 'Failed';
        if (over || spec?.nodeName === undefined) return [];
        return [placeKey(spec.nodeName, metadata.namespace ?? '', spec.serviceAccountName ?? 'default')];
      },
    });
  }

  /** Throws ISTIOD_IMPERSONATION_DENIED with the reason when the caller may not have a certificate of that identity. */
  authorize(caller: Caller, { namespace, serviceAccount }: SpiffeIdentity): void {
    if (caller.via !== 'token' || caller.pod === undefined) throw denied('the caller did not prove by a token in which pod it runs');
    const account = `${caller.account.namespace}/${caller.account.name}`;
    if (!this.#trustedAccounts.has(account)) throw denied(`${account} is not a trusted node account`);
    const pod = this.#pods.get(`${caller.account.namespace}/${caller.pod.name}`);
    if (pod?.metadata.uid !== caller.pod.uid) throw denied(`the caller's pod ${caller.pod.name} is not (or not yet) known`);
    if ((pod.spec?.serviceAccountName ?? 'default') !== caller.account.name)
      throw denied(`the caller's pod runs as another service account`);
    const node = pod.spec?.nodeName;
    if (node === undefined) throw denied("the caller's pod is on no node");
    if (this.#byNodeAndAccount.lookup(placeKey(node, namespace, serviceAccount)).length === 0) {
      throw denied(`no pod of ${namespace}/${serviceAccount} is on node ${node}`);
    }
  }
}

function placeKey(node: string, namespace: string, serviceAccount: string): string {
  return `${node}|${namespace}/${serviceAccount}`;
}

function denied(reason: string): IsthmusError {
  return new IsthmusError('ISTIOD_IMPERSONATION_DENIED', reason);
}
