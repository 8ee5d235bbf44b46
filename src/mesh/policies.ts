import type { Authorization } from '../api/gen/istio/authorization_pb.js';
import { flatMap, indexBy, join, map, type Collection, type Fetch, type Graph } from '../collections/index.ts';
import { convertAuthorizationPolicy, policySelector, type ConvertedPolicy } from './authorization-policy.ts';
import type { MeshInputs, MeshOptions } from './model.ts';
import { convertPeerAuthentication, mutualTls, mutualTlsPolicies, staticStrict, staticStrictName } from './peer-authentication.ts';
import { SelectorIndex } from './selectors.ts';

export interface Policies {
  /** As ztunnel enforces them, under `<namespace>/<name>`. */
  readonly authorizations: Collection<Authorization>;
  /** What became of each AuthorizationPolicy, under its key. */
  readonly converted: Collection<ConvertedPolicy>;
  /** The keys of the policies that a workload has to be told of: those that select it. The others it knows by their scope. */
  of(fetch: Fetch, namespace: string, labels: Readonly<Record<string, string>>): string[];
}

export function derivePolicies(graph: Graph, inputs: MeshInputs, { rootNamespace }: MeshOptions): Policies {
  const converted = map(graph, inputs.authorizationPolicies, (policy) => convertAuthorizationPolicy(policy, rootNamespace), {
    name: 'convertedPolicies',
  });
  const fromPolicies = map(graph, converted, ({ authorization }) => authorization, { name: 'policyAuthorizations' });
  const selecting = map(
    graph,
    inputs.authorizationPolicies,
    (policy, fetch, key) => {
      const selector = policySelector(policy);
      if (selector === undefined || fetch.get(fromPolicies, key) === undefined) return undefined;
      return { key, namespace: policy.metadata.namespace ?? '', selector };
    },
    { name: 'selectingPolicies' },
  );
  const bySelector = new SelectorIndex(graph, selecting, { name: 'policiesBySelector', namespaceOf: ({ namespace }) => namespace });

  const peers = inputs.peerAuthentications;
  const peersByNamespace = indexBy(graph, peers, {
    name: 'peerAuthenticationsByNamespace',
    keysOf: ({ metadata }) => [metadata.namespace ?? ''],
  });
  const fromPeers = flatMap(
    graph,
    peers,
    (policy, fetch) => {
      const namespace = policy.metadata.namespace ?? '';
      const own = fetch.lookup(peersByNamespace, namespace);
      const authorization = convertPeerAuthentication(policy, { own, mesh: fetch.lookup(peersByNamespace, rootNamespace), rootNamespace });
      // The static policy is there as long as any PeerAuthentication is: each derives it, and they are all alike.
      const all = [staticStrict(rootNamespace), ...(authorization === undefined ? [] : [authorization])];
      return all.map((one) => [`${one.namespace}/${one.name}`, one] as const);
    },
    { name: 'peerAuthorizations' },
  );
  return {
    authorizations: join(graph, [fromPolicies, fromPeers], { name: 'authorizations' }),
    converted,
    of: (fetch, namespace, labels) => {
      const isRoot = namespace === rootNamespace;
      const selectedIn = isRoot ? [namespace] : [namespace, rootNamespace];
      const selected = selectedIn.flatMap((one) => bySelector.selecting(fetch, one, labels)).map(({ key }) => key);
      const own = fetch.lookup(peersByNamespace, namespace);
      const mesh = fetch.lookup(peersByNamespace, rootNamespace);
      return [...selected.sort(), ...mutualTlsPolicies(mutualTls({ own, mesh, isRoot, labels }), rootNamespace)];
    },
  };
}

/** Whether a policy was made from PeerAuthentications rather than written by a user as AuthorizationPolicy. */
export function isConvertedPeerPolicy(name: string): boolean {
  return name === staticStrictName || name.startsWith('converted_peer_authentication_');
}
