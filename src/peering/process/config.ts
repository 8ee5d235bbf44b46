import { hostname } from 'node:os';
import { isIP } from 'node:net';

import { istioNamespace, ports } from '../../api/names.ts';
import { defaultImage } from '../../api/version.ts';
import { anyHost, IsthmusError, parseListenAddress, type ListenAddress } from '../../core/index.ts';
import { AddressRanges } from '../address-ranges.ts';

/** Everything that `isthmus peering` is told at its start. Names in brackets are environment variables, then flags. */
export interface PeeringProcessConfig {
  /** [CLUSTER_ID, --cluster-id] As istiod has it; required. */
  readonly clusterId: string;
  /** [NETWORK, --network] Default: the label topology.istio.io/network of the namespace. */
  readonly network: string | undefined;
  /** [TRUST_DOMAIN] Default `cluster.local`. */
  readonly trustDomain: string;
  /** [CLUSTER_DOMAIN] Of Kubernetes names; default `cluster.local`. */
  readonly clusterDomain: string;
  /** [POD_NAMESPACE] Istio's own; default `istio-system`. */
  readonly namespace: string;
  /** [POD_NAME] Unique per replica; default the host's name and the process id. */
  readonly podName: string;
  /** [SERVICE_ACCOUNT] Default `isthmus-peering`: peers believe no other, but `istiod`. */
  readonly serviceAccount: string;
  /** [ISTHMUS_IMAGE] Image of the gateways that it deploys. */
  readonly image: string;
  /** [PILOT_CA_CERT_CONFIGMAP] As istiod has it, for the gateways; default `istio-ca-root-cert`. */
  readonly rootConfigMap: string | undefined;
  /** [POD_CIDRS, --pod-cidrs] Default: what the nodes say. */
  readonly podRanges: readonly string[] | undefined;
  /** [SERVICE_CIDRS, --service-cidrs] Default: only the addresses that are in use are known. */
  readonly serviceRanges: readonly string[] | undefined;
  /** [CREATE_NAMESPACES, --create-namespaces] Default false. */
  readonly createNamespaces: boolean;
  /** [LINKED_PEERS_ONLY, --linked-peers-only] Tell nothing to clusters that this one does not link to itself; default false: each link is one direction. */
  readonly linkedPeersOnly: boolean;
  /** [PEER_LEASE, --peer-lease] How long a peer's entries are kept while it cannot be reached; default `1h`. Milliseconds. */
  readonly peerLeaseMs: number;
  /** [KUBE_API_QPS, KUBE_API_BURST] Writes of entries a second, and at once after a quiet time; default 200 and 400. */
  readonly writeRate: { readonly perSecond: number; readonly burst: number };
  readonly authority: {
    /** [CA_ADDRESS] Istio's certificate service; default `istiod.<namespace>.svc:15012`. As a URL. */
    readonly url: string;
    /** [CA_ROOT_CA] A path, a PEM, or `SYSTEM`; default `/var/run/secrets/istio/root-cert.pem`. */
    readonly roots: string;
    /** [ALT_CA_HOSTNAME] Another name that its certificate may have. */
    readonly alternativeName: string | undefined;
    /** [AUTH_TOKEN] A path; default `/var/run/secrets/tokens/istio-token`. */
    readonly token: string;
  };
  readonly listen: {
    /** [--listen] The peering wire, over TLS; default `:15012`. */
    readonly peering: ListenAddress;
    /** [--monitoring] Metrics; default `:15014`. */
    readonly monitoring: ListenAddress;
    /** [--readiness] Probes; default `:8080`. */
    readonly readiness: ListenAddress;
  };
  /** [LEASE_DURATION, --lease] How long a leader is believed without a sign of life; default `3s`. Milliseconds. */
  readonly leaseMs: number;
  /** [RENEW_DEADLINE, --renew-deadline] How long a leader goes on that cannot renew; default two thirds of the lease. Milliseconds. */
  readonly renewDeadlineMs: number;
  /** [RETRY_PERIOD, --retry-period] How often those who do not lead look; default a sixth of the lease. Milliseconds. */
  readonly retryMs: number;
  /**
   * [TERMINATION_DRAIN_DURATION_SECONDS] How long peers are served after the stop began, so that new connections find the other replica;
   * default 3. Milliseconds.
   */
  readonly drainMs: number;
}

/** Flags of the command, under their names in camel case. */
export interface PeeringProcessFlags {
  readonly clusterId?: string;
  readonly network?: string;
  readonly listen?: string;
  readonly monitoring?: string;
  readonly readiness?: string;
  readonly podCidrs?: string;
  readonly serviceCidrs?: string;
  readonly createNamespaces?: boolean;
  readonly linkedPeersOnly?: boolean;
  readonly peerLease?: string;
  readonly lease?: string;
  readonly renewDeadline?: string;
  readonly retryPeriod?: string;
}

/** The configuration, flags before the environment. Throws ISTHMUS_CONFIG_INVALID that names what is wrong, or ISTHMUS_USAGE. */
export function peeringProcessConfig(env: NodeJS.ProcessEnv, flags: PeeringProcessFlags = {}): PeeringProcessConfig {
  const namespace = env['POD_NAMESPACE'] || istioNamespace;
  const leaseMs = duration(flags.lease ?? env['LEASE_DURATION'], 'LEASE_DURATION, --lease') ?? 3_000;
  const renewDeadlineMs =
    duration(flags.renewDeadline ?? env['RENEW_DEADLINE'], 'RENEW_DEADLINE, --renew-deadline') ?? Math.round((leaseMs * 2) / 3);
  const retryMs = duration(flags.retryPeriod ?? env['RETRY_PERIOD'], 'RETRY_PERIOD, --retry-period') ?? Math.round(leaseMs / 6);
  if (renewDeadlineMs >= leaseMs) {
    throw invalid(
      'RENEW_DEADLINE, --renew-deadline',
      `${renewDeadlineMs} ms has to be less than the lease, ${leaseMs} ms: two replicas might write`,
    );
  }
  return {
    clusterId: clusterId(flags.clusterId ?? env['CLUSTER_ID']),
    network: (flags.network ?? env['NETWORK']) || undefined,
    trustDomain: env['TRUST_DOMAIN'] || 'cluster.local',
    clusterDomain: env['CLUSTER_DOMAIN'] || 'cluster.local',
    namespace,
    podName: env['POD_NAME'] || `${hostname()}-${process.pid}`,
    serviceAccount: env['SERVICE_ACCOUNT'] || 'isthmus-peering',
    image: env['ISTHMUS_IMAGE'] || defaultImage,
    rootConfigMap: env['PILOT_CA_CERT_CONFIGMAP'] || undefined,
    podRanges: ranges(flags.podCidrs ?? env['POD_CIDRS'], 'POD_CIDRS, --pod-cidrs'),
    serviceRanges: ranges(flags.serviceCidrs ?? env['SERVICE_CIDRS'], 'SERVICE_CIDRS, --service-cidrs'),
    createNamespaces: flags.createNamespaces ?? truth(env['CREATE_NAMESPACES'], 'CREATE_NAMESPACES'),
    linkedPeersOnly: flags.linkedPeersOnly ?? truth(env['LINKED_PEERS_ONLY'], 'LINKED_PEERS_ONLY'),
    peerLeaseMs: duration(flags.peerLease ?? env['PEER_LEASE'], 'PEER_LEASE, --peer-lease') ?? 3_600_000,
    writeRate: {
      perSecond: positive(env['KUBE_API_QPS'] || '200', 'KUBE_API_QPS'),
      burst: positive(env['KUBE_API_BURST'] || '400', 'KUBE_API_BURST'),
    },
    authority: {
      url: authorityUrl(env['CA_ADDRESS'] || `istiod.${namespace}.svc:${ports.istiodTls}`),
      roots: env['CA_ROOT_CA'] || '/var/run/secrets/istio/root-cert.pem',
      alternativeName: env['ALT_CA_HOSTNAME'] || undefined,
      token: env['AUTH_TOKEN'] || '/var/run/secrets/tokens/istio-token',
    },
    listen: {
      peering: address(flags.listen, '--listen', ports.istiodTls),
      monitoring: address(flags.monitoring, '--monitoring', ports.istiodMonitoring),
      readiness: address(flags.readiness, '--readiness', ports.istiodReadiness),
    },
    leaseMs,
    renewDeadlineMs,
    retryMs,
    drainMs: 1000 * wholeNumber(env['TERMINATION_DRAIN_DURATION_SECONDS'] || '3', 'TERMINATION_DRAIN_DURATION_SECONDS'),
  };
}

function clusterId(value: string | undefined): string {
  if (value === undefined || value === '') {
    throw invalid('CLUSTER_ID, --cluster-id', "missing; it is istiod's, which has it in its environment variable CLUSTER_ID");
  }
  return value;
}

/** `host:port`; TLS always, as a bearer token goes over it. */
function authorityUrl(value: string): string {
  const url = URL.parse(value.includes('://') ? value : `https://${value}`);
  if (url === null || url.protocol !== 'https:' || url.port === '' || url.pathname !== '/') {
    throw invalid('CA_ADDRESS', `"${value}" is not an address like istiod.istio-system.svc:15012`);
  }
  return url.origin;
}

function address(text: string | undefined, flag: string, port: number): ListenAddress {
  return text === undefined ? { host: anyHost(), port } : parseListenAddress(text, flag);
}

function ranges(text: string | undefined, name: string): readonly string[] | undefined {
  const parts = (text ?? '')
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
  if (parts.length === 0) return undefined;
  const wrong = parts.find(
    (part) => !part.includes('/') || isIP(part.split('/')[0] ?? '') === 0 || AddressRanges.parse([part]) === undefined,
  );
  if (wrong !== undefined) throw invalid(name, `"${wrong}" is not a range like 10.10.0.0/16`);
  return parts;
}

/** As Go writes it, in one unit: `3s`, `1500ms`, `1m`, `1h`. Milliseconds. */
function duration(text: string | undefined, name: string): number | undefined {
  if (text === undefined || text === '') return undefined;
  const [, number = '', unit = ''] = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text) ?? [];
  const ms = Number(number) * (unit === 'ms' ? 1 : unit === 's' ? 1000 : unit === 'm' ? 60_000 : 3_600_000);
  if (number === '' || ms < 100) throw invalid(name, `"${text}" is not a time like 3s, of at least 100ms`);
  return ms;
}

function truth(text: string | undefined, name: string): boolean {
  if (text === undefined || text === '' || text === 'false') return false;
  if (text === 'true') return true;
  throw invalid(name, `"${text}" is neither true nor false`);
}

function wholeNumber(text: string, name: string): number {
  if (!/^\d{1,6}$/.test(text)) throw invalid(name, `"${text}" is not a number of seconds`);
  return Number(text);
}

function positive(text: string, name: string): number {
  if (!/^[1-9]\d{0,4}$/.test(text)) throw invalid(name, `"${text}" is not a whole number from 1 to 99999`);
  return Number(text);
}

function invalid(name: string, why: string): IsthmusError {
  return new IsthmusError('ISTHMUS_CONFIG_INVALID', `${name}: ${why}`);
}
