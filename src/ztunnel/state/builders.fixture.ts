import type { Service, Workload } from './model.ts';
import type { Match, Policy } from './policy.ts';

/** A workload for tests: what is not said is what the control plane leaves out. */
export function workload(given: Partial<Workload> & Pick<Workload, 'name'>): Workload {
  const namespace = given.namespace ?? 'demo';
  const clusterId = given.clusterId ?? 'cluster-1';
  return {
    uid: `${clusterId}//Pod/${namespace}/${given.name}`,
    namespace,
    trustDomain: 'cluster.local',
    serviceAccount: 'default',
    network: 'flat',
    addresses: [],
    hostname: '',
    protocol: 'HBONE',
    networkMode: 'Standard',
    waypoint: undefined,
    networkGateway: undefined,
    node: 'node-1',
    canonicalName: given.name,
    canonicalRevision: 'latest',
    workloadType: 'pod',
    workloadName: given.name,
    nativeTunnel: false,
    applicationTunnel: undefined,
    services: new Map(),
    authorizationPolicies: [],
    status: 'Healthy',
    clusterId,
    locality: { region: '', zone: '', subzone: '' },
    capacity: 1,
    ...given,
  };
}

/** A service for tests, with one VIP. */
export function service(given: Partial<Service> & Pick<Service, 'name'> & { readonly vip?: string }): Service {
  const { vip, ...rest } = given;
  const namespace = given.namespace ?? 'demo';
  return {
    namespace,
    hostname: `${given.name}.${namespace}.svc.cluster.local`,
    vips: vip === undefined ? [] : [{ network: 'flat', address: vip }],
    cidrVips: [],
    ports: new Map([[80, 8080]]),
    subjectAltNames: [],
    waypoint: undefined,
    weightedWaypoints: [],
    loadBalancer: undefined,
    ipFamilies: undefined,
    canonical: true,
    visibility: 'Public',
    ...rest,
  };
}

/** Membership in services, by their hostnames in namespace demo: service port to own port. */
export function memberOf(...hostnames: readonly string[]): Workload['services'] {
  return new Map(hostnames.map((hostname) => [`demo/${hostname}`, new Map([[80, 8080]])]));
}

const noConditions: Match = {
  namespaces: [],
  notNamespaces: [],
  principals: [],
  notPrincipals: [],
  serviceAccounts: [],
  notServiceAccounts: [],
  sourceIps: [],
  notSourceIps: [],
  destinationIps: [],
  notDestinationIps: [],
  destinationPorts: [],
  notDestinationPorts: [],
};

export function match(given: Partial<Match>): Match {
  return { ...noConditions, ...given };
}

export function policy(given: Partial<Policy> & Pick<Policy, 'rules'>): Policy {
  return { name: 'policy', namespace: 'demo', scope: 'Namespace', action: 'Allow', dryRun: false, ...given };
}
