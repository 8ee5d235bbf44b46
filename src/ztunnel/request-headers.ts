import { randomBytes } from 'node:crypto';

import type { DerivedWorkload } from './connection-record.ts';
import { formatHostPort } from './state/address.ts';
import type { Workload } from './state/model.ts';

/**
 * The `baggage` header that tells the other side who a workload is, for its telemetry: only members that are known,
 * unescaped, in upstream's order.
 */
export function baggageOf(workload: Workload): string {
  const members: readonly (readonly [string, string])[] = [
    ['k8s.cluster.name', workload.clusterId],
    ['k8s.namespace.name', workload.namespace],
    [`k8s.${workload.workloadType}.name`, workload.workloadName],
    ['service.name', workload.canonicalName],
    ['service.version', workload.canonicalRevision],
    ['cloud.region', workload.locality.region],
    ['cloud.availability_zone', workload.locality.zone],
  ];
  return members
    .filter(([, value]) => value !== '')
    .map(([name, value]) => `${name}=${value}`)
    .join(',');
}

const workloadKeys: ReadonlySet<string> = new Set(['k8s.deployment.name', 'k8s.cronjob.name', 'k8s.pod.name', 'k8s.job.name']);

/** Reads `baggage` headers: later members win, empty values count as absent, nothing is trimmed. */
export function parseBaggage(headers: readonly string[]): DerivedWorkload {
  const members = new Map<string, string | undefined>();
  for (const header of headers) {
    for (const member of header.split(',')) {
      const [name = '', value = ''] = member.split('=');
      members.set(workloadKeys.has(name) ? 'workload' : name, value === '' ? undefined : value);
    }
  }
  return {
    clusterId: members.get('k8s.cluster.name'),
    namespace: members.get('k8s.namespace.name'),
    workloadName: members.get('workload'),
    canonicalName: members.get('service.name'),
    canonicalRevision: members.get('service.version'),
    region: members.get('cloud.region'),
    zone: members.get('cloud.availability_zone'),
  };
}

/** `for="10.0.0.1:40000";host=server.default.svc.cluster.local`. */
export function forwardedOf(client: { readonly host: string; readonly port: number }, serviceHostname: string | undefined): string {
  const host = serviceHostname === undefined ? '' : `;host=${serviceHostname}`;
  return `for="${formatHostPort(client.host, client.port)}"${host}`;
}

/** The service that the client says it has called, from its `forwarded` header. */
export function parseForwardedHost(header: string | undefined): string | undefined {
  const host = header?.split(';').find((part) => part.startsWith('host='));
  return host?.slice('host='.length).replace(/^"|"$/g, '');
}

/** A new trace context, not sampled. */
export function newTraceparent(): string {
  const random = randomBytes(24).toString('hex');
  return `00-${random.slice(0, 32)}-${random.slice(32)}-00`;
}
