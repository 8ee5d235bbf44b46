import { X509Certificate } from 'node:crypto';

import { version } from '../api/version.ts';
import { splitPem } from '../pki/index.ts';
import type { CertificateDump } from './certificates.ts';
import type { ZtunnelConfig } from './config.ts';
import type { ConnectionDump } from './connections.ts';
import type { MeshState } from './state/mesh-state.ts';
import { workloadIdentity, type Endpoint, type GatewayAddress, type Service, type Workload, type WorkloadInfo } from './state/model.ts';
import type { AddressRange, Match, Policy, StringMatch } from './state/policy.ts';

export interface DumpSources {
  readonly config: ZtunnelConfig;
  readonly state: MeshState;
  readonly certificates: readonly CertificateDump[];
  readonly connections: readonly ConnectionDump[];
  readonly pods: readonly { readonly uid: string; readonly workloadInfo: WorkloadInfo }[];
}

/**
 * The state of the process as `istioctl ztunnel-config` reads it: upstream's keys, in alphabetical order, empty members
 * left out where upstream leaves them out.
 */
export function configDump(sources: DumpSources): string {
  const { state } = sources;
  const dump = {
    certificates: sources.certificates.map(certificateDump),
    config: settings(sources.config),
    policies: [...state.policies.values()].map(policyDump),
    services: [...state.services.values()].map((service) => serviceDump(service, state)),
    stagedServices: Object.fromEntries([...state.stagedEndpoints()].map(([key, endpoints]) => [key, endpointsDump(endpoints.values())])),
    staticConfig: { policies: [], services: [], workloads: [] },
    version: { buildStatus: 'Clean', gitRevision: version, istioVersion: version, version },
    workloadState: Object.fromEntries(sources.pods.map((pod) => [pod.uid, podDump(pod, sources.connections)])),
    workloads: [...state.workloads.values()].map(workloadDump),
  };
  return `${JSON.stringify(dump, sortKeys, 2)}\n`;
}

function sortKeys(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function workloadDump(workload: Workload): object {
  const { addresses, waypoint, networkGateway, services, ...rest } = workload;
  return {
    ...withoutEmpty(rest),
    capacity: workload.capacity,
    clusterId: workload.clusterId,
    locality: workload.locality,
    network: workload.network,
    workloadIps: addresses,
    ...(waypoint !== undefined && { waypoint: gatewayDump(waypoint) }),
    ...(networkGateway !== undefined && { networkGateway: gatewayDump(networkGateway) }),
    ...(services.size > 0 && { services: [...services.keys()] }),
  };
}

function serviceDump(service: Service, state: MeshState): object {
  const { vips, cidrVips, ports, waypoint, weightedWaypoints, ...rest } = service;
  return {
    ...withoutEmpty(rest),
    subjectAltNames: service.subjectAltNames,
    vips: vips.map(({ network, address }) => `${network}/${address}`),
    ...(cidrVips.length > 0 && { cidrVips: cidrVips.map((range) => ({ network: range.network, cidr: cidr(range) })) }),
    ports: Object.fromEntries(ports),
    endpoints: endpointsDump([...state.endpoints(service)].map(({ endpoint }) => endpoint)),
    ...(waypoint !== undefined && { waypoint: gatewayDump(waypoint) }),
    ...(weightedWaypoints.length > 0 && {
      weightedWaypoints: weightedWaypoints.map(({ destination, weight }) => ({ destination: gatewayDump(destination), weight })),
    }),
  };
}

function endpointsDump(endpoints: Iterable<Endpoint>): object {
  return Object.fromEntries(
    [...endpoints].map(({ workloadUid, ports, status }) => [workloadUid, { port: Object.fromEntries(ports), status, workloadUid }]),
  );
}

function gatewayDump(gateway: GatewayAddress): object {
  const destination = gateway.kind === 'hostname' ? `${gateway.namespace}/${gateway.hostname}` : `${gateway.network}/${gateway.address}`;
  return { destination, hboneMtlsPort: gateway.hboneMtlsPort };
}

function policyDump({ rules, ...rest }: Policy): object {
  return { ...rest, rules: rules.map((clauses) => clauses.map((matches) => matches.map(matchDump))) };
}

function matchDump(match: Match): object {
  const strings = (list: readonly StringMatch[]): object[] =>
    list.map((entry) => (entry.kind === 'Presence' ? { Presence: [] } : { [entry.kind]: entry.value }));
  return withoutEmpty({
    ...match,
    namespaces: strings(match.namespaces),
    notNamespaces: strings(match.notNamespaces),
    principals: strings(match.principals),
    notPrincipals: strings(match.notPrincipals),
    sourceIps: match.sourceIps.map(cidr),
    notSourceIps: match.notSourceIps.map(cidr),
    destinationIps: match.destinationIps.map(cidr),
    notDestinationIps: match.notDestinationIps.map(cidr),
  });
}

function cidr({ address, length }: AddressRange): string {
  return `${address}/${length}`;
}

function certificateDump({ identity, state, credentials }: CertificateDump): object {
  return {
    identity,
    state,
    certChain: splitPem(credentials?.certificateChain ?? '').map(certificateInfo),
    rootCerts: splitPem(credentials?.roots ?? '').map(certificateInfo),
  };
}

function certificateInfo(pem: string): object {
  const certificate = new X509Certificate(pem);
  return {
    pem: Buffer.from(pem).toString('base64'),
    serialNumber: BigInt(`0x${certificate.serialNumber}`).toString(),
    validFrom: seconds(certificate.validFromDate),
    expirationTime: seconds(certificate.validToDate),
  };
}

function seconds(date: Date): string {
  return `${date.toISOString().slice(0, 19)}Z`;
}

function podDump(
  { uid, workloadInfo }: { readonly uid: string; readonly workloadInfo: WorkloadInfo },
  connections: readonly ConnectionDump[],
): object {
  const of = (direction: ConnectionDump['direction']): object[] =>
    connections
      .filter((connection) => connection.pod === uid && connection.direction === direction)
      .map(({ src, originalDst, actualDst, protocol }) => ({ src, originalDst, actualDst, protocol }));
  return { state: 'Up', info: workloadInfo, connections: { inbound: of('inbound'), outbound: of('outbound') } };
}

/** Members of the configuration that may hold a secret. */
const secret: ReadonlySet<string> = new Set(['authToken', 'xdsHeaders', 'caHeaders', 'xdsRoot', 'caRoot', 'localXds']);

/** What the process was told, without what might be a secret. */
function settings(config: ZtunnelConfig): object {
  return {
    ...Object.fromEntries(Object.entries(config).filter(([name]) => !secret.has(name))),
    localNode: config.nodeName,
    ztunnelIdentity: workloadIdentity({ trustDomain: 'cluster.local', ...config.pod }),
  };
}

/** Leaves out what is not set: undefined, '', false and empty lists. */
function withoutEmpty(value: object): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(value).filter(
      ([, member]) => member !== undefined && member !== '' && member !== false && !(Array.isArray(member) && member.length === 0),
    ),
  );
}
