import { hostname } from 'node:os';

import { istioNamespace, ports } from '../api/names.ts';
import { defaultImage } from '../api/version.ts';
import { anyHost, type ListenAddress } from '../core/index.ts';

/** Everything that istiod is told at its start. Names in brackets are the environment variables, most of them upstream's. */
export interface IstiodConfig {
  /** [CLUSTER_ID] Unique among linked clusters; default `Kubernetes`. */
  readonly clusterId: string;
  /** [POD_NAMESPACE] Where istiod runs, and the root namespace of the mesh's configuration; default `istio-system`. */
  readonly namespace: string;
  /** [POD_NAME] Unique per replica; default the host's name. */
  readonly podName: string;
  /** [SERVICE_ACCOUNT] Of istiod itself; default `istiod`. */
  readonly serviceAccount: string;
  /** [REVISION] Default `default`. */
  readonly revision: string;
  /** [TRUST_DOMAIN] Default `cluster.local`. */
  readonly trustDomain: string;
  /** Of Kubernetes names (flag --domain); default `cluster.local`. */
  readonly clusterDomain: string;
  /** [ISTHMUS_IMAGE] Image of the gateways that istiod deploys. */
  readonly image: string;
  /** [CA_TRUSTED_NODE_ACCOUNTS] `<namespace>/<service account>` of proxies that may ask for the certificates of their node's pods. */
  readonly trustedNodeAccounts: ReadonlySet<string>;
  /** [TOKEN_AUDIENCES] Audiences of the tokens by which callers prove themselves; default `istio-ca`. */
  readonly tokenAudiences: readonly string[];
  /** [ROOT_CA_DIR] A directory with the files of the Secret `cacerts`; default `/etc/cacerts`. */
  readonly authorityDirectory: string;
  /** [ISTIOD_CUSTOM_HOST] More DNS names for the serving certificate. */
  readonly customHosts: readonly string[];
  /** [PILOT_IP_AUTOALLOCATE_IPV4_PREFIX], [PILOT_IP_AUTOALLOCATE_IPV6_PREFIX] */
  readonly vipPrefixes: { readonly ipv4Prefix?: string; readonly ipv6Prefix?: string };
  readonly listen: {
    /** Delta ADS, certificates and peering over TLS. */
    readonly tls: ListenAddress;
    /** The same in plaintext, without authentication: loopback only. */
    readonly plaintext: ListenAddress;
    readonly readiness: ListenAddress;
    readonly monitoring: ListenAddress;
  };
}

/** The configuration that the environment says; `listen` may be overridden part by part. */
export function istiodConfig(
  env: NodeJS.ProcessEnv,
  options: { readonly clusterDomain?: string; readonly listen?: Partial<IstiodConfig['listen']> } = {},
): IstiodConfig {
  const namespace = env['POD_NAMESPACE'] || istioNamespace;
  const any = anyHost();
  const ipv4Prefix = env['PILOT_IP_AUTOALLOCATE_IPV4_PREFIX'];
  const ipv6Prefix = env['PILOT_IP_AUTOALLOCATE_IPV6_PREFIX'];
  return {
    clusterId: env['CLUSTER_ID'] || 'Kubernetes',
    namespace,
    podName: env['POD_NAME'] || hostname(),
    serviceAccount: env['SERVICE_ACCOUNT'] || 'istiod',
    revision: env['REVISION'] || 'default',
    trustDomain: env['TRUST_DOMAIN'] || 'cluster.local',
    clusterDomain: options.clusterDomain ?? 'cluster.local',
    image: env['ISTHMUS_IMAGE'] || defaultImage,
    trustedNodeAccounts: new Set(list(env['CA_TRUSTED_NODE_ACCOUNTS']) ?? [`${namespace}/ztunnel`]),
    tokenAudiences: list(env['TOKEN_AUDIENCES']) ?? ['istio-ca'],
    authorityDirectory: env['ROOT_CA_DIR'] || '/etc/cacerts',
    customHosts: list(env['ISTIOD_CUSTOM_HOST']) ?? [],
    vipPrefixes: { ...(ipv4Prefix && { ipv4Prefix }), ...(ipv6Prefix && { ipv6Prefix }) },
    listen: {
      tls: { host: any, port: ports.istiodTls },
      plaintext: { host: '127.0.0.1', port: ports.istiodPlaintext },
      readiness: { host: any, port: ports.istiodReadiness },
      monitoring: { host: any, port: ports.istiodMonitoring },
      ...options.listen,
    },
  };
}

function list(value: string | undefined): string[] | undefined {
  if (value === undefined) return undefined;
  const parts = value.split(',').map((part) => part.trim());
  return parts.filter((part) => part !== '');
}
