import { stringify } from 'yaml';

import type { Gateway } from '../../api/kubernetes.ts';
import { annotations, gatewayClasses, labels, ports } from '../../api/names.ts';
import { resources } from '../../api/resources.ts';
import { IsthmusError } from '../../core/index.ts';
import { waitForObjects, type KubeClient } from '../../kube/index.ts';
import type { IstiodChoice } from './find-istio.ts';
import { findMesh, identityOf, isPeeringThere, type MeshIdentity } from './mesh-identity.ts';

export interface ExposeOptions extends IstiodChoice {
  readonly client: KubeClient;
  readonly namespace: string;
  /** Make the namespace if it is not there; default false. */
  readonly createNamespace?: boolean;
  /** Print instead of applying. */
  readonly generate: boolean;
  /** Wait until the Gateway is programmed, `timeout` at most. */
  readonly wait: boolean;
  /** Milliseconds; default a minute. */
  readonly timeout?: number;
  /** Where the result goes, a line each. */
  readonly print: (line: string) => void;
}

/**
 * Creates the cluster's east-west gateway. Throws MESH_NOT_INSTALLED, MESH_AMBIGUOUS, NAMESPACE_MISSING, ISTHMUS_TIMEOUT, and with `wait`
 * PEERING_NOT_INSTALLED.
 */
export async function expose(options: ExposeOptions): Promise<void> {
  const { client, namespace, createNamespace = false, generate, wait, timeout = 60_000, print, ...choice } = options;
  const gateway = eastWestGateway(namespace, identityOf(client, await findMesh(client, choice)));
  if (generate) {
    print(stringify(gateway).trimEnd());
    return;
  }
  const { context } = client.transport.config;
  if ((await client.find(resources.namespaces, { name: namespace })) === undefined) {
    if (!createNamespace) {
      throw new IsthmusError('NAMESPACE_MISSING', `namespace "${namespace}" does not exist in ${context}`, {
        hint: `kubectl create namespace ${namespace} --context ${context}, or --create-namespace`,
      });
    }
    await client.create(resources.namespaces, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } });
    print(`${context}: Namespace ${namespace} created`);
  }
  await client.apply(resources.gateways, gateway, { fieldManager: 'istioctl' });
  print(`${context}: Gateway ${namespace}/${gateway.metadata.name} applied`);
  if (!wait) return;
  const address = await waitForProgrammed(client, namespace, timeout);
  print(`${context}: Gateway ${namespace}/${gateway.metadata.name} programmed, ${address}`);
}

/**
 * Waits for the east-west gateway's Programmed condition and resolves with its address. Throws ISTHMUS_TIMEOUT, and
 * PEERING_NOT_INSTALLED at once when there is nobody to program it.
 */
export async function waitForProgrammed(client: KubeClient, namespace: string, timeout: number): Promise<string> {
  const { context } = client.transport.config;
  const found = await client.find(resources.gateways, { name: eastWestName, namespace });
  const address = found === undefined || !isProgrammed(found) ? undefined : addressOf(found);
  if (address !== undefined) return address;
  if (!(await isPeeringThere(client))) {
    const message = `${context}: nobody programs Gateway ${namespace}/${eastWestName}: this Istio has no peering, and there is no Deployment isthmus-peering`;
    throw new IsthmusError('PEERING_NOT_INSTALLED', message, { hint: `isthmus install --components peering --context ${context}` });
  }
  const [gateway] = await waitForObjects(
    {
      client,
      type: resources.gateways,
      namespace,
      fieldSelector: `metadata.name=${eastWestName}`,
      what: `${context}: Gateway ${namespace}/${eastWestName} to be programmed`,
      timeout,
    },
    ([one]) => one !== undefined && isProgrammed(one) && addressOf(one) !== undefined,
  );
  return gateway === undefined ? '' : (addressOf(gateway) ?? '');
}

export const eastWestName = 'istio-eastwest';

/** Programmed=True. */
export function isProgrammed(gateway: Gateway): boolean {
  return gateway.status?.conditions?.some(({ type, status }) => type === 'Programmed' && status === 'True') ?? false;
}

/** The first address of the status. */
export function addressOf(gateway: Gateway): string | undefined {
  return gateway.status?.addresses?.[0]?.value;
}

function eastWestGateway(namespace: string, mesh: MeshIdentity): Gateway {
  const allowedRoutes = { namespaces: { from: 'Same' as const } };
  return {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'Gateway',
    metadata: {
      name: eastWestName,
      namespace,
      labels: { [labels.exposeIstiod]: String(ports.istiodTls), [labels.cluster]: mesh.clusterId, [labels.network]: mesh.network },
      annotations: { [annotations.dataPlaneServiceType]: 'loadbalancer' },
    },
    spec: {
      gatewayClassName: gatewayClasses.eastWest,
      listeners: [
        { name: 'cross-network', port: ports.hbone, protocol: 'HBONE', tls: { mode: 'Passthrough' }, allowedRoutes },
        { name: 'xds-tls', port: ports.istiodTls, protocol: 'TLS', tls: { mode: 'Passthrough' }, allowedRoutes },
      ],
    },
  };
}
