import type { Deployment, Gateway, OwnerReference, Service, ServiceAccount } from '../../api/kubernetes.ts';
import { gatewayClasses, labels, ports } from '../../api/names.ts';
import type { DeepPartial } from '../../kube/index.ts';

const serviceTypeAnnotation = 'networking.istio.io/service-type';
const serviceTypes = ['LoadBalancer', 'ClusterIP', 'NodePort'] as const;

export interface EastWestOptions {
  /** Of the mesh. */
  readonly image: string;
  readonly clusterId: string;
  readonly network: string;
  readonly trustDomain: string;
  /** See GatewayOwner. */
  readonly managedBy: string;
  /** istiod's own namespace. */
  readonly istioNamespace: string;
  /** The ConfigMap with the mesh's roots; default `istio-ca-root-cert`. */
  readonly rootConfigMap?: string | undefined;
}

type Listener = Gateway['spec']['listeners'][number];

type ServicePort = NonNullable<NonNullable<Service['spec']>['ports']>[number];

/** An apply's body, with a name. */
type Manifest<T> = DeepPartial<T> & { metadata: { name: string; namespace: string } };

export interface EastWestObjects {
  readonly serviceAccount: Manifest<ServiceAccount>;
  readonly deployment: Manifest<Deployment>;
  readonly service: Manifest<Service>;
}

/**
 * Whether the gateway serves a listener: HBONE on 15008, and 15012 as TLS that is passed through to istiod. A string is
 * the reason why not, as the Gateway API names it.
 */
export function listenerVerdict({ port, protocol, tls }: Listener): true | 'UnsupportedProtocol' | 'PortUnavailable' {
  if (protocol === 'HBONE') return port === ports.hbone ? true : 'PortUnavailable';
  if (protocol !== 'TLS' || tls?.mode !== 'Passthrough') return 'UnsupportedProtocol';
  return port === ports.istiodTls ? true : 'PortUnavailable';
}

/** What makes an east-west gateway run: our ztunnel in gateway mode, behind a Service, all named like the Gateway. */
export function eastWestObjects(gateway: Gateway, options: EastWestOptions): EastWestObjects {
  const { name, namespace = '', uid = '' } = gateway.metadata;
  const owner: OwnerReference = { apiVersion: gateway.apiVersion, kind: gateway.kind, name, uid };
  const common = {
    ...gateway.spec.infrastructure?.labels,
    ...topology(gateway),
    [labels.gatewayName]: name,
    'gateway.networking.k8s.io/gateway-class-name': gatewayClasses.eastWest,
    [labels.gatewayManaged]: options.managedBy,
  };
  const annotations = gateway.spec.infrastructure?.annotations;
  const metadata = { name, namespace, labels: common, ...(annotations && { annotations }), ownerReferences: [owner] };
  return {
    serviceAccount: { metadata },
    deployment: {
      metadata,
      spec: { selector: { matchLabels: { [labels.gatewayName]: name } }, template: podTemplate(name, common, options) },
    },
    service: {
      metadata,
      spec: { type: serviceType(gateway), selector: { [labels.gatewayName]: name }, ports: servicePorts(gateway.spec.listeners) },
    },
  };
}

/** Which cluster and network a gateway belongs to is said on all that is its own. */
function topology({ metadata }: Gateway): Record<string, string> {
  return Object.fromEntries(
    [labels.network, labels.cluster].flatMap((label) => {
      const value = metadata.labels?.[label];
      return value === undefined ? [] : [[label, value]];
    }),
  );
}

function serviceType({ metadata }: Gateway): (typeof serviceTypes)[number] {
  const wanted = metadata.annotations?.[serviceTypeAnnotation];
  return serviceTypes.find((type) => type === wanted) ?? 'LoadBalancer';
}

function servicePorts(listeners: readonly Listener[]): ServicePort[] {
  const served = listeners
    .filter((listener) => listenerVerdict(listener) === true)
    .map(({ name, port, protocol }): ServicePort => ({
      name: port === ports.istiodTls ? 'tls-xds' : name,
      port,
      targetPort: port,
      protocol: 'TCP' as const,
      appProtocol: protocol.toLowerCase(),
    }));
  const status = {
    name: 'status-port',
    port: ports.ztunnelReadiness,
    targetPort: ports.ztunnelReadiness,
    protocol: 'TCP' as const,
    appProtocol: 'tcp',
  };
  return [status, ...served];
}

function podTemplate(name: string, common: Record<string, string>, options: EastWestOptions) {
  const istiod = `istiod.${options.istioNamespace}.svc:${ports.istiodTls}`;
  const field = (variable: string, fieldPath: string) => ({ name: variable, valueFrom: { fieldRef: { fieldPath } } });
  return {
    metadata: {
      labels: { ...common, [labels.canonicalName]: name, [labels.dataplaneMode]: 'none', 'sidecar.istio.io/inject': 'false' },
    },
    spec: {
      serviceAccountName: name,
      containers: [
        {
          name: 'istio-proxy',
          image: options.image,
          args: ['ztunnel', '--gateway'],
          ports: [
            { name: 'status-port', containerPort: ports.ztunnelReadiness, protocol: 'TCP' as const },
            { name: 'hbone', containerPort: ports.hbone, protocol: 'TCP' as const },
            { name: 'tls-xds', containerPort: ports.istiodTls, protocol: 'TCP' as const },
            { name: 'metrics', containerPort: ports.ztunnelStats, protocol: 'TCP' as const },
          ],
          readinessProbe: { httpGet: { path: '/healthz/ready', port: ports.ztunnelReadiness }, periodSeconds: 2 },
          env: [
            { name: 'XDS_ADDRESS', value: istiod },
            { name: 'CA_ADDRESS', value: istiod },
            { name: 'ISTHMUS_PEERING_ADDRESS', value: `isthmus-peering.${options.istioNamespace}.svc:${ports.istiodTls}` },
            { name: 'ISTIO_META_CLUSTER_ID', value: options.clusterId },
            { name: 'NETWORK', value: options.network },
            { name: 'TRUST_DOMAIN', value: options.trustDomain },
            field('POD_NAME', 'metadata.name'),
            field('POD_NAMESPACE', 'metadata.namespace'),
            field('NODE_NAME', 'spec.nodeName'),
            field('INSTANCE_IP', 'status.podIP'),
            field('SERVICE_ACCOUNT', 'spec.serviceAccountName'),
          ],
          resources: { requests: { cpu: '100m', memory: '128Mi' } },
          securityContext: {
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            runAsNonRoot: true,
            runAsUser: 1337,
            runAsGroup: 1337,
            capabilities: { drop: ['ALL'] },
          },
          volumeMounts: [
            { name: 'istiod-ca-cert', mountPath: '/var/run/secrets/istio', readOnly: true },
            { name: 'istio-token', mountPath: '/var/run/secrets/tokens', readOnly: true },
          ],
        },
      ],
      volumes: [
        { name: 'istiod-ca-cert', configMap: { name: options.rootConfigMap ?? 'istio-ca-root-cert' } },
        {
          name: 'istio-token',
          projected: { sources: [{ serviceAccountToken: { audience: 'istio-ca', expirationSeconds: 43200, path: 'istio-token' } }] },
        },
      ],
    },
  };
}
