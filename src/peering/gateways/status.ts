import type { Deployment, Gateway, Service } from '../../api/kubernetes.ts';
import { conditions, type Verdict } from './conditions.ts';
import { listenerVerdict } from './east-west.ts';

/** What the controller states in the status of a Gateway: its own conditions, never those of peering. */
export type GatewayStatus = Pick<NonNullable<Gateway['status']>, 'conditions' | 'listeners' | 'addresses'>;

type Address = { readonly type: string; readonly value: string };

const accepted = { type: 'Accepted', status: 'True', reason: 'Accepted', message: 'Resource accepted' } as const;

/** Of a gateway that the controller runs. It is programmed once others can reach it: it has an address and a ready pod behind it. */
export function eastWestStatus(
  gateway: Gateway,
  running: { readonly service: Service | undefined; readonly deployment: Deployment | undefined; readonly nameTaken?: string | undefined },
): GatewayStatus {
  const listeners = gateway.spec.listeners;
  const refused = listeners.filter((listener) => listenerVerdict(listener) !== true);
  const given = gateway.spec.addresses ?? [];
  const found =
    given.length > 0 ? given.map(({ type, value = '' }) => ({ type: type ?? 'IPAddress', value })) : serviceAddresses(running.service);
  // As upstream: an address that was once there stays, so that peers do not lose it while a Service is repaired.
  const addresses = found.length > 0 ? found : keptAddresses(gateway);
  const ready = given.length > 0 || (running.deployment?.status?.readyReplicas ?? 0) > 0;
  const generation = gateway.metadata.generation;
  return {
    conditions: conditions(
      [
        refused.length === 0
          ? accepted
          : {
              type: 'Accepted',
              status: refused.length < listeners.length ? 'True' : 'False',
              reason: 'ListenersNotValid',
              message: `Not served: ${refused.map(({ name }) => name).join(', ')}`,
            },
        programmed(gateway, { addresses, found, ready, nameTaken: running.nameTaken }),
      ],
      gateway.status?.conditions,
      generation,
    ),
    listeners: listeners.map((listener) => {
      const old = gateway.status?.listeners?.find(({ name }) => name === listener.name);
      return {
        name: listener.name,
        attachedRoutes: 0,
        supportedKinds: [],
        conditions: conditions(listenerVerdicts(listenerVerdict(listener)), old?.conditions, generation),
      };
    }),
    ...(addresses.length > 0 && { addresses: [...addresses] }),
  };
}

/** Of a Gateway that stands for another cluster: its own addresses, and nothing to program here. */
export function remoteStatus(gateway: Gateway): GatewayStatus {
  const verdicts: Verdict[] = [
    accepted,
    { type: 'Programmed', status: 'True', reason: 'Programmed', message: 'This Gateway is remote; Istio will not program it' },
  ];
  const addresses = (gateway.spec.addresses ?? []).map(({ type, value = '' }) => ({ type: type ?? 'IPAddress', value }));
  return {
    conditions: conditions(verdicts, gateway.status?.conditions, gateway.metadata.generation),
    ...(addresses.length > 0 && { addresses }),
  };
}

function programmed(
  gateway: Gateway,
  state: {
    readonly addresses: readonly Address[];
    readonly found: readonly Address[];
    readonly ready: boolean;
    readonly nameTaken: string | undefined;
  },
): Verdict {
  const no = (reason: string, message: string): Verdict => ({ type: 'Programmed', status: 'False', reason, message });
  if (state.nameTaken !== undefined) return no('Invalid', state.nameTaken);
  if (state.found.length === 0) return no('AddressNotAssigned', 'Assigned to service, waiting for its address');
  if (!state.ready) return no('Pending', 'Waiting for a ready pod');
  const { name, namespace = '' } = gateway.metadata;
  const where = gateway.spec.listeners.map(({ port }) => `${name}.${namespace}.svc:${port}`).join(' ');
  return { type: 'Programmed', status: 'True', reason: 'Programmed', message: `Resource programmed, assigned to service(s) ${where}` };
}

function listenerVerdicts(verdict: ReturnType<typeof listenerVerdict>): Verdict[] {
  const fine = 'No errors found';
  return [
    verdict === true
      ? { type: 'Accepted', status: 'True', reason: 'Accepted', message: fine }
      : {
          type: 'Accepted',
          status: 'False',
          reason: verdict,
          message: 'An east-west gateway serves HBONE on 15008 and TLS passthrough on 15012',
        },
    { type: 'Conflicted', status: 'False', reason: 'NoConflicts', message: fine },
    verdict === true
      ? { type: 'Programmed', status: 'True', reason: 'Programmed', message: fine }
      : { type: 'Programmed', status: 'False', reason: 'Invalid', message: 'The listener is not accepted' },
    { type: 'ResolvedRefs', status: 'True', reason: 'ResolvedRefs', message: fine },
  ];
}

/** External addresses of a LoadBalancer; the cluster's own for the other types. */
function serviceAddresses(service: Service | undefined): Address[] {
  if (service?.spec === undefined) return [];
  if (service.spec.type !== 'LoadBalancer') {
    return (service.spec.clusterIPs ?? []).filter((ip) => ip !== '' && ip !== 'None').map((value) => ({ type: 'IPAddress', value }));
  }
  return (service.status?.loadBalancer?.ingress ?? []).flatMap(({ ip, hostname }) => {
    if (ip !== undefined && ip !== '') return [{ type: 'IPAddress', value: ip }];
    return hostname === undefined || hostname === '' ? [] : [{ type: 'Hostname', value: hostname }];
  });
}

function keptAddresses({ status }: Gateway): Address[] {
  return (status?.addresses ?? []).map(({ type, value }) => ({ type: type ?? 'IPAddress', value }));
}
