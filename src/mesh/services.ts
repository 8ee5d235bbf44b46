import { create } from '@bufbuild/protobuf';

import { ServiceSchema } from '../api/gen/istio/workload_pb.js';
import { flatMap, indexBy, join, map, type Collection, type Fetch, type Graph, type Index } from '../collections/index.ts';
import { kubernetesService } from './kubernetes-service.ts';
import type { MeshInputs, MeshOptions, ServiceInfo } from './model.ts';
import { SelectorIndex } from './selectors.ts';
import { serviceEntryServices } from './service-entry.ts';

/** The services of the mesh and the ways in which workloads find theirs. */
export interface Services {
  /** One for each `<namespace>/<hostname>`, under that key. */
  readonly all: Collection<ServiceInfo>;
  readonly bySelector: SelectorIndex<ServiceInfo>;
  /** `<namespace>/<name>` of a Service to the ServiceEntries made for it. */
  readonly byParent: Index<ServiceInfo>;
  /** `<namespace>/<name>` of a ServiceEntry to its services. */
  readonly byEntry: Index<ServiceInfo>;
}

export function deriveServices(graph: Graph, inputs: MeshInputs, options: MeshOptions, networkOf: (fetch: Fetch) => string): Services {
  const { clusterDomain, rootNamespace } = options;
  const kubernetes = flatMap(
    graph,
    inputs.services,
    (object, fetch, key) => {
      const namespace = fetch.get(inputs.namespaces, object.metadata.namespace ?? '');
      const info = kubernetesService(object, { namespace, network: networkOf(fetch), clusterDomain });
      return info === undefined ? [] : [[`Service/${key}`, info] as const];
    },
    { name: 'kubernetesServices' },
  );
  const entries = flatMap(
    graph,
    inputs.serviceEntries,
    (object, fetch, key) => {
      const namespace = fetch.get(inputs.namespaces, object.metadata.namespace ?? '');
      const infos = serviceEntryServices(object, { namespace, network: networkOf(fetch), rootNamespace });
      return infos.map((info) => [`ServiceEntry/${key}/${info.service.hostname}`, info] as const);
    },
    { name: 'serviceEntryServices' },
  );
  const claims = join(graph, [kubernetes, entries], { name: 'serviceClaims' });
  const claimsByKey = indexBy(graph, claims, { name: 'serviceClaimsByKey', keysOf: ({ key }) => [key] });
  const winners = flatMap(
    graph,
    claims,
    (claim, fetch) => (best(fetch.lookup(claimsByKey, claim.key)) === claim ? [[claim.key, claim] as const] : []),
    { name: 'serviceWinners' },
  );
  const byHostname = indexBy(graph, winners, { name: 'servicesByHostname', keysOf: ({ service }) => [service.hostname] });
  const all = map(
    graph,
    winners,
    (info, fetch): ServiceInfo => {
      const canonical = best(fetch.lookup(byHostname, info.service.hostname)) === info;
      return { ...info, service: create(ServiceSchema, { ...info.service, canonical }) };
    },
    { name: 'services' },
  );
  return {
    all,
    bySelector: new SelectorIndex(graph, all, { name: 'servicesBySelector', namespaceOf: ({ objectNamespace }) => objectNamespace }),
    byParent: indexBy(graph, all, { name: 'servicesByParent', keysOf: ({ parent }) => (parent === undefined ? [] : [parent]) }),
    byEntry: indexBy(graph, all, {
      name: 'servicesByEntry',
      keysOf: ({ kind, objectNamespace, objectName }) => (kind === 'ServiceEntry' ? [`${objectNamespace}/${objectName}`] : []),
    }),
  };
}

/** Of several claims on a hostname, a Kubernetes Service counts, else the oldest; the first of equals (they come ordered by key). */
function best(claims: readonly ServiceInfo[]): ServiceInfo | undefined {
  return claims.reduce<ServiceInfo | undefined>((best, claim) => {
    if (best === undefined) return claim;
    if (claim.kind !== best.kind) return claim.kind === 'Service' ? claim : best;
    return claim.created < best.created ? claim : best;
  }, undefined);
}
