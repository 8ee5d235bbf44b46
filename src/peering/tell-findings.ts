import type { Gateway, Service } from '../api/kubernetes.ts';
import type { Collection } from '../collections/index.ts';
import type { Logger } from '../core/index.ts';
import type { EventRecorder } from '../kube/index.ts';
import type { DesiredEntries } from './desired-entries.ts';
import { namespacesReady } from './gateway-status.ts';
import type { PeeringMetrics } from './metrics.ts';
import type { MissingNamespace } from './missing-namespaces.ts';
import { readPeerGateway } from './peer-gateway.ts';

/** What an operator is told to do about a namespace that services of peers wait for. */
export function missingNamespaceAdvice({ name, state, services, isToBeMade }: MissingNamespace): string {
  const some = services.slice(0, 5).join(', ');
  const which = services.length > 5 ? `${some} and ${services.length - 5} more` : some;
  if (state === 'deleting') return `namespace ${name} is being deleted: ${which} of it come back once it is made again`;
  if (isToBeMade) return `namespace ${name} does not exist here and is being made for ${which}`;
  return (
    `namespace ${name} does not exist here, so its services ${which} are not imported: kubectl create namespace ${name} ` +
    '(with the label istio.io/dataplane-mode=ambient if its own pods are to be in the mesh), or run with --create-namespaces'
  );
}

/** What the Gateway says already of namespaces. */
function noted({ status }: Gateway): string {
  return status?.conditions?.find(({ type, status }) => type === namespacesReady && status === 'False')?.message ?? '';
}

/**
 * Tells, in Events, logs and metrics, what of the desired entries could not be: of Services of this cluster on the Service, of namespaces on the
 * Gateways of the peers that wait for them, of workloads of peers in the log alone, for there may be many. Returns the way to stop it.
 */
export function tellFindings(options: {
  readonly desired: DesiredEntries;
  readonly inputs: { readonly services: Collection<Service>; readonly gateways: Collection<Gateway> };
  readonly events: Pick<EventRecorder, 'record'>;
  readonly metrics: PeeringMetrics;
  readonly log: Logger;
}): () => void {
  const { desired, inputs, events, metrics, log } = options;
  const stops = [
    desired.findings.subscribe((changes) => {
      for (const { key, before, after } of changes) {
        for (const { code, message } of after?.findings ?? []) {
          if (before?.findings.some((old) => old.code === code && old.message === message) === true) continue;
          metrics.refused.inc({ peer: '', code });
          log.warn({ code, service: key, reason: message }, 'service not as it is here in its global name');
          const about = inputs.services.get(key);
          if (about !== undefined) void events.record({ about, type: 'Warning', reason: code, message: message.slice(0, 1000) });
        }
      }
    }),
    desired.missingNamespaces.subscribe((changes) => {
      for (const { key, before, after } of changes) {
        if (after === undefined || after.isToBeMade) continue;
        const message = missingNamespaceAdvice(after);
        if (before?.state !== after.state) log.warn({ code: 'PEERING_NAMESPACE_MISSING', namespace: key, peers: after.peers }, message);
        const isNew = (peer: string): boolean => before?.state !== after.state || !before.peers.includes(peer);
        for (const gateway of inputs.gateways.values()) {
          const peer = readPeerGateway(gateway)?.cluster;
          if (peer === undefined || !after.peers.includes(peer) || !isNew(peer)) continue;
          // Whoever led before has told it: the condition is there.
          if (before === undefined && noted(gateway).includes(message)) continue;
          metrics.refused.inc({ peer, code: 'PEERING_NAMESPACE_MISSING' });
          void events.record({ about: gateway, type: 'Warning', reason: 'PEERING_NAMESPACE_MISSING', message: message.slice(0, 1000) });
        }
      }
    }),
    desired.refusals.subscribe((changes) => {
      for (const { key, before, after } of changes) {
        if (after === undefined || before?.message === after.message) continue;
        const [peer = '', workload = ''] = key.split('|');
        metrics.refused.inc({ peer, code: after.code });
        log.warn({ code: after.code, peer, workload, reason: after.message }, 'workload of a peer not believed');
      }
    }),
  ];
  return () => {
    for (const stop of stops) stop();
  };
}
