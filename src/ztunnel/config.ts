import { existsSync } from 'node:fs';

import { IsthmusError } from '../core/index.ts';
import type { WorkloadInfo } from './state/model.ts';

/** Everything the node proxy is told from outside; names of the variables and defaults are upstream's. */
export interface ZtunnelConfig {
  /** PROXY_MODE. `dedicated`: one workload, in the process's own network namespace. */
  readonly mode: 'shared' | 'dedicated';
  /** PROXY_WORKLOAD_INFO, `namespace/name/serviceaccount`; for dedicated mode only. */
  readonly workloadInfo: WorkloadInfo | undefined;
  /** NODE_NAME. */
  readonly nodeName: string | undefined;
  /** NETWORK. */
  readonly network: string;
  /** ISTIO_META_CLUSTER_ID, then CLUSTER_ID. */
  readonly clusterId: string;
  /** CLUSTER_DOMAIN. */
  readonly clusterDomain: string;
  /** XDS_ADDRESS; undefined: no control plane. */
  readonly xdsAddress: string | undefined;
  /** CA_ADDRESS; undefined: no certificates. */
  readonly caAddress: string | undefined;
  /** XDS_ROOT_CA and CA_ROOT_CA: a path or PEM. */
  readonly xdsRoot: string;
  readonly caRoot: string;
  /** ALT_XDS_HOSTNAME, ALT_CA_HOSTNAME: a second name under which the server may prove itself. */
  readonly altXdsHostname: string | undefined;
  readonly altCaHostname: string | undefined;
  /** AUTH_TOKEN: a path or the token itself. */
  readonly authToken: string;
  /** SECRET_TTL, milliseconds. */
  readonly secretTtlMs: number;
  /** LOCAL_XDS_PATH, LOCAL_XDS. */
  readonly localXdsPath: string | undefined;
  readonly localXds: string | undefined;
  /** ISTIO_META_DNS_CAPTURE. */
  readonly dnsProxy: boolean;
  /** INPOD_UDS. */
  readonly inpodSocket: string;
  /** INPOD_PORT_REUSE. */
  readonly reusePort: boolean;
  /** PACKET_MARK: the mark of all our sockets; undefined: none. */
  readonly packetMark: number | undefined;
  /** ENABLE_ORIG_SRC: `auto` tries to keep the client's address and goes on without. */
  readonly originalSource: 'auto' | 'always' | 'never';
  /** POOL_MAX_STREAMS_PER_CONNECTION. */
  readonly poolMaxStreams: number;
  /** POOL_UNUSED_RELEASE_TIMEOUT, milliseconds. */
  readonly poolIdleMs: number;
  /** What open connections get when the process stops, milliseconds. */
  readonly drainDeadlineMs: number;
  /** KEEPALIVE_ENABLED and its times; undefined: off. Seconds. */
  readonly keepAlive: { readonly time: number; readonly interval: number; readonly retries: number } | undefined;
  /** ENABLE_RESPONSE_BAGGAGE: read baggage in requests and send it in answers. */
  readonly baggage: boolean;
  /** LOG_FORMAT. */
  readonly logFormat: 'text' | 'json';
  /** IPV6_ENABLED, and the kernel has it: listen for both families. */
  readonly ipv6: boolean;
  readonly ports: ZtunnelPorts;
  /** INSTANCE_IP, POD_NAME, POD_NAMESPACE, SERVICE_ACCOUNT: who we are to the control plane. */
  readonly pod: { readonly ip: string; readonly name: string; readonly namespace: string; readonly serviceAccount: string };
  /** ISTIO_META_*, prefix removed. */
  readonly nodeMetadata: Readonly<Record<string, string>>;
  /** XDS_HEADER_*, CA_HEADER_*. */
  readonly xdsHeaders: Readonly<Record<string, string>>;
  readonly caHeaders: Readonly<Record<string, string>>;
}

export interface ZtunnelPorts {
  readonly outbound: number;
  readonly inboundPlaintext: number;
  readonly hbone: number;
  readonly dns: number;
  readonly admin: number;
  readonly stats: number;
  readonly readiness: number;
}

export const defaultPorts: ZtunnelPorts = {
  outbound: 15001,
  inboundPlaintext: 15006,
  hbone: 15008,
  dns: 15053,
  admin: 15000,
  stats: 15020,
  readiness: 15021,
};

type Environment = Readonly<Record<string, string | undefined>>;

/** Reads the configuration; ISTHMUS_CONFIG_INVALID names the variable that cannot be used. */
export function configFromEnvironment(env: Environment = process.env): ZtunnelConfig {
  const mode = choice(env, 'PROXY_MODE', ['shared', 'dedicated'], 'shared');
  const inKubernetes = existsSync('/var/run/secrets/kubernetes.io/serviceaccount') || env['KUBERNETES_SERVICE_HOST'] !== undefined;
  const istiod = inKubernetes ? 'https://istiod.istio-system.svc:15012' : 'https://localhost:15012';
  const grace = duration(env, 'TERMINATION_GRACE_PERIOD_SECONDS', undefined);
  return {
    mode,
    workloadInfo: mode === 'dedicated' ? workloadInfo(env) : undefined,
    nodeName: text(env, 'NODE_NAME'),
    network: env['NETWORK'] ?? '',
    clusterId: text(env, 'ISTIO_META_CLUSTER_ID') ?? text(env, 'CLUSTER_ID') ?? 'Kubernetes',
    clusterDomain: text(env, 'CLUSTER_DOMAIN') ?? 'cluster.local',
    xdsAddress: address(env, 'XDS_ADDRESS', istiod),
    caAddress: address(env, 'CA_ADDRESS', istiod),
    xdsRoot: env['XDS_ROOT_CA'] ?? './var/run/secrets/istio/root-cert.pem',
    caRoot: env['CA_ROOT_CA'] ?? './var/run/secrets/istio/root-cert.pem',
    altXdsHostname: text(env, 'ALT_XDS_HOSTNAME'),
    altCaHostname: text(env, 'ALT_CA_HOSTNAME'),
    authToken: env['AUTH_TOKEN'] ?? './var/run/secrets/tokens/istio-token',
    secretTtlMs: duration(env, 'SECRET_TTL', 24 * 3_600_000),
    localXdsPath: text(env, 'LOCAL_XDS_PATH'),
    localXds: text(env, 'LOCAL_XDS'),
    dnsProxy: (env['ISTIO_META_DNS_CAPTURE'] ?? 'true').toLowerCase() === 'true',
    inpodSocket: env['INPOD_UDS'] ?? '/var/run/ztunnel/ztunnel.sock',
    reusePort: flag(env, 'INPOD_PORT_REUSE', true),
    packetMark: mode === 'shared' || env['PACKET_MARK'] !== undefined ? integer(env, 'PACKET_MARK', 1337) : undefined,
    originalSource: env['ENABLE_ORIG_SRC'] === undefined ? 'auto' : flag(env, 'ENABLE_ORIG_SRC', true) ? 'always' : 'never',
    poolMaxStreams: integer(env, 'POOL_MAX_STREAMS_PER_CONNECTION', 100),
    poolIdleMs: duration(env, 'POOL_UNUSED_RELEASE_TIMEOUT', 5 * 60_000),
    drainDeadlineMs: duration(env, 'CONNECTION_TERMINATION_DEADLINE', grace === undefined ? 5_000 : drainDeadline(grace)),
    keepAlive: flag(env, 'KEEPALIVE_ENABLED', true)
      ? {
          time: duration(env, 'KEEPALIVE_TIME', 180_000) / 1000,
          interval: duration(env, 'KEEPALIVE_INTERVAL', 180_000) / 1000,
          retries: integer(env, 'KEEPALIVE_RETRIES', 9),
        }
      : undefined,
    baggage: flag(env, 'ENABLE_RESPONSE_BAGGAGE', true),
    logFormat: choice(env, 'LOG_FORMAT', ['text', 'json'], 'text'),
    ipv6: flag(env, 'IPV6_ENABLED', true) && existsSync('/proc/net/if_inet6'),
    ports: defaultPorts,
    pod: {
      ip: text(env, 'INSTANCE_IP') ?? '1.1.1.1',
      name: env['POD_NAME'] ?? '',
      namespace: env['POD_NAMESPACE'] ?? '',
      serviceAccount: env['SERVICE_ACCOUNT'] ?? '',
    },
    nodeMetadata: prefixed(env, 'ISTIO_META_'),
    xdsHeaders: prefixed(env, 'XDS_HEADER_'),
    caHeaders: prefixed(env, 'CA_HEADER_'),
  };
}

/** Ports at which a connection would end up in the proxy itself. */
export function illegalPorts(ports: ZtunnelPorts): ReadonlySet<number> {
  return new Set([ports.outbound, ports.inboundPlaintext, ports.hbone]);
}

/** Leaves time to stop after the connections have had theirs, as upstream counts: of 30 s, 25 are for the connections. */
function drainDeadline(graceMs: number): number {
  return Math.max(1_000, graceMs > 10_000 ? graceMs - 5_000 : graceMs - 1_000);
}

function workloadInfo(env: Environment): WorkloadInfo {
  const [namespace, name, serviceAccount, ...rest] = (env['PROXY_WORKLOAD_INFO'] ?? '').split('/');
  if (namespace === undefined || name === undefined || serviceAccount === undefined || rest.length > 0) {
    throw invalid('PROXY_WORKLOAD_INFO', 'must be namespace/name/serviceaccount in dedicated mode');
  }
  return { namespace, name, serviceAccount };
}

function text(env: Environment, name: string): string | undefined {
  const value = env[name];
  return value === '' ? undefined : value;
}

/** Empty switches the connection off; without a scheme it is https. */
function address(env: Environment, name: string, fallback: string): string | undefined {
  const value = env[name] ?? fallback;
  if (value === '') return undefined;
  const url = value.includes('://') ? value : `https://${value}`;
  if (!URL.canParse(url)) throw invalid(name, `"${value}" is not an address`);
  return url;
}

function choice<T extends string>(env: Environment, name: string, choices: readonly T[], fallback: T): T {
  const value = env[name]?.toLowerCase() ?? '';
  if (value === '') return fallback;
  const found = choices.find((known) => known === value);
  if (found === undefined) throw invalid(name, `"${value}" is none of ${choices.join(', ')}`);
  return found;
}

function flag(env: Environment, name: string, fallback: boolean): boolean {
  return choice(env, name, ['true', 'false'], fallback ? 'true' : 'false') === 'true';
}

function integer(env: Environment, name: string, fallback: number): number {
  const value = env[name] ?? '';
  if (value === '') return fallback;
  if (!/^\d{1,9}$/.test(value)) throw invalid(name, `"${value}" is not a number`);
  return Number(value);
}

const units: Readonly<Record<string, number>> = { ms: 1, s: 1000, '': 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `24h`, `5m`, `10s`, `200ms`, several in a row, or a bare number of seconds. Milliseconds. */
function duration<F extends number | undefined>(env: Environment, name: string, fallback: F): number | F {
  const value = env[name] ?? '';
  if (value === '') return fallback;
  if (!/^(\d+(ms|s|m|h|d)?)+$/.test(value)) throw invalid(name, `"${value}" is not a duration such as 30s`);
  let sum = 0;
  for (const [, amount, unit] of value.matchAll(/(\d+)(ms|s|m|h|d|)/g)) sum += Number(amount) * (units[unit ?? ''] ?? 0);
  return sum;
}

function prefixed(env: Environment, prefix: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const [name, value] of Object.entries(env)) {
    if (name.startsWith(prefix) && value !== undefined) found[name.slice(prefix.length)] = value;
  }
  return found;
}

function invalid(name: string, why: string): IsthmusError {
  return new IsthmusError('ISTHMUS_CONFIG_INVALID', `${name}: ${why}`);
}
