import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';

import type { KubeObject } from '../../../src/api/kubernetes.ts';
import { exportedServices, type ExportedPod, type ExportedPort, type ExportedService } from './exported.ts';
import type { ClusterState } from './watched-cluster.ts';

/** What is compared of an entry: all but what the API server itself adds. */
export interface EntryView {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly spec: unknown;
}

/** Where entries are, and how they are found: docs/peering.md. */
export interface EntryRules {
  /** `root`: all in istio-system. `service`: in the Service's namespace, when there is one of that name. */
  readonly placement: 'root' | 'service';
}

export interface ClusterView {
  readonly name: string;
  readonly state: ClusterState;
}

const rootNamespace = 'istio-system';

/**
 * The entries that `here` has to hold, from what all clusters' API servers say: written down from docs/peering.md, not from the product's
 * code.
 */
export function expectedEntries(here: ClusterView, others: readonly ClusterView[], rules: EntryRules): readonly EntryView[] {
  const peers = others.filter((peer) => isLinked(here.state, peer.name));
  const own = exportedServices(here.state);
  const theirs = peers.map((peer) => ({ peer, services: exportedServices(peer.state) }));
  const keys = new Set([...own, ...theirs.flatMap(({ services }) => services)].map(({ namespace, name }) => `${namespace}/${name}`));
  return [...keys].flatMap((key): EntryView[] => {
    const is = ({ namespace, name }: ExportedService): boolean => `${namespace}/${name}` === key;
    const local = own.find(is);
    const claims = theirs.flatMap(({ peer, services }) => {
      const service = services.find(is);
      return service === undefined ? [] : [{ peer, service }];
    });
    const [first] = [...(local === undefined ? [] : [local]), ...claims.map(({ service }) => service)];
    if (first === undefined) return [];
    const { namespace, name, scope } = first;
    const place = rules.placement === 'root' ? rootNamespace : namespace;
    if (placeState(here.state, place) !== 'there') return [];
    const parent = {
      'solo.io/parent-service': name,
      'solo.io/parent-service-namespace': namespace,
      'solo.io/service-scope': scope,
    };
    const hash = createHash('sha256').update(key).digest('hex').slice(0, 12);
    const federated = { 'isthmus.dev/federated-service': hash };
    const joins = rules.placement === 'service' && local !== undefined ? local.selector : {};
    const claimants = [...(local === undefined ? [] : [local]), ...claims.map(({ service }) => service)];
    const ports = rules.placement === 'root' ? union(claimants) : common(claimants, hash);
    if (ports.length === 0) return [];
    const identities = claimants.flatMap(({ pods }) =>
      pods.map(({ serviceAccount }) => `spiffe://cluster.local/ns/${namespace}/sa/${serviceAccount}`),
    );
    const subjectAltNames = [...new Set(identities)].sort();
    const serviceEntry: EntryView = {
      kind: 'ServiceEntry',
      namespace: place,
      name: `autogen.${namespace}.${name}`,
      labels: { ...parent, ...federated },
      annotations: {},
      spec: {
        hosts: [`${name}.${namespace}.mesh.internal`],
        ports: ports.map(({ name: portName, number, protocol }) => {
          const target = rules.placement === 'service' ? localTarget(local, number) : undefined;
          return {
            name: portName,
            number,
            ...(protocol !== undefined && { protocol }),
            ...(target !== undefined && { targetPort: target }),
          };
        }),
        resolution: 'STATIC',
        workloadSelector: { labels: Object.keys(joins).length > 0 ? joins : federated },
        ...(subjectAltNames.length > 0 && { subjectAltNames }),
      },
    };
    const workloadEntries = claims.flatMap(({ peer, service }): EntryView[] => {
      const network = peer.state.namespaces.find(({ metadata }) => metadata.name === rootNamespace)?.metadata.labels?.[
        'topology.istio.io/network'
      ];
      const ofPeer = { ...parent, 'isthmus.dev/peer': peer.name, 'topology.istio.io/cluster': peer.name };
      const gateway: EntryView = {
        kind: 'WorkloadEntry',
        namespace: place,
        name: `autogen.${peer.name}.${namespace}.${name}`,
        labels: { ...ofPeer, 'solo.io/service-scope': service.scope },
        annotations: {},
        spec: { network },
      };
      const flat = service.pods.map((pod): EntryView => ({
        kind: 'WorkloadEntry',
        namespace: place,
        name: `autogenflat.${peer.name}.${namespace}.${pod.name}.${hash}`,
        labels: { ...ofPeer, ...federated, ...canonical(pod), ...joins },
        annotations: pod.isCaptured ? { 'ambient.istio.io/redirection': 'enabled' } : {},
        spec: {
          address: pod.address,
          network,
          serviceAccount: pod.serviceAccount,
          ports: Object.fromEntries(
            ports.flatMap(({ name: portName, number }) => {
              const target = pod.targetPorts.get(number);
              return target === undefined ? [] : [[portName, target] as const];
            }),
          ),
          ...(pod.locality !== undefined && { locality: pod.locality }),
        },
      }));
      return [gateway, ...flat];
    });
    return [serviceEntry, ...workloadEntries];
  });
}

/**
 * All ServiceEntries and WorkloadEntries of a cluster, but for those that the test itself made, and for what goes with a namespace that is being
 * deleted.
 */
export function actualEntries(state: ClusterState, isForeign: (entry: KubeObject) => boolean): readonly EntryView[] {
  return [...state.serviceEntries, ...state.workloadEntries].flatMap((entry): EntryView[] => {
    const { name, namespace = '', labels = {}, annotations = {} } = entry.metadata;
    return isForeign(entry) || placeState(state, namespace) === 'going'
      ? []
      : [{ kind: entry.kind, namespace, name, labels, annotations, spec: entry.spec }];
  });
}

/** What is missing, too much or different, a line each; none when all is as it has to be. */
export function differences(expected: readonly EntryView[], actual: readonly EntryView[]): readonly string[] {
  const nameOf = ({ kind, namespace, name }: EntryView): string => `${kind} ${namespace}/${name}`;
  const have = new Map(actual.map((entry) => [nameOf(entry), entry]));
  const want = new Map(expected.map((entry) => [nameOf(entry), entry]));
  return [
    ...[...want.keys()].filter((name) => !have.has(name)).map((name) => `${name} is missing`),
    ...[...have.keys()].filter((name) => !want.has(name)).map((name) => `${name} is left over`),
    ...[...want].flatMap(([name, wanted]) => {
      const found = have.get(name);
      if (found === undefined) return [];
      return (['labels', 'annotations', 'spec'] as const).flatMap((field) =>
        isDeepStrictEqual(found[field], wanted[field])
          ? []
          : [`${name}: ${field} is ${JSON.stringify(found[field])} instead of ${JSON.stringify(wanted[field])}`],
      );
    }),
  ];
}

/** Whether a namespace is there, being deleted, or not there. */
export function placeState(state: ClusterState, namespace: string): 'there' | 'going' | 'missing' {
  const found = state.namespaces.find(({ metadata }) => metadata.name === namespace);
  if (found === undefined) return 'missing';
  return found.metadata.deletionTimestamp === undefined ? 'there' : 'going';
}

/** A Gateway of class istio-remote names the peer. */
export function isLinked(state: ClusterState, peer: string): boolean {
  return state.gateways.some(
    ({ metadata, spec }) =>
      spec.gatewayClassName === 'istio-remote' &&
      metadata.labels?.['topology.istio.io/cluster'] === peer &&
      metadata.deletionTimestamp === undefined,
  );
}

/** Joined by number; of two names or protocols for one number the first claim's counts. */
function union(claims: readonly ExportedService[]): readonly ExportedPort[] {
  const byNumber = new Map<number, ExportedPort>();
  for (const port of claims.flatMap(({ ports }) => ports)) if (!byNumber.has(port.number)) byNumber.set(port.number, port);
  return [...byNumber.values()].sort((a, b) => a.number - b.number);
}

/** Beside plain Istio: the ports that all clusters have, under names that follow from service and number. */
function common(claims: readonly ExportedService[], hash: string): readonly ExportedPort[] {
  return union(claims)
    .filter(({ number }) => claims.every(({ ports }) => ports.some((port) => port.number === number)))
    .map((port) => ({ ...port, name: `port-${String(port.number)}-${hash}` }));
}

/** Where a port goes on the pods here: what the Service says, else what its pods have. */
function localTarget(local: ExportedService | undefined, number: number): number | undefined {
  const said = local?.ports.find((port) => port.number === number)?.target;
  return said ?? local?.pods.map(({ targetPorts }) => targetPorts.get(number)).find((target) => target !== undefined);
}

/** By the rules of Istio's canonical service; pods of the test have both labels. */
function canonical({ labels }: ExportedPod): Record<string, string> {
  return {
    'service.istio.io/canonical-name': labels['app'] ?? '',
    'service.istio.io/canonical-revision': labels['version'] ?? '',
  };
}
