import type { Logger } from '../core/index.ts';
import type { SignedCertificate } from '../pki/index.ts';
import { controlPlaneTls, readToken, requestCertificate, XdsClient, type XdsClientState } from '../xds/index.ts';
import type { ZtunnelConfig } from './config.ts';
import type { ZtunnelMetrics } from './metrics.ts';
import type { MeshState } from './state/mesh-state.ts';
import { meshSubscriptions } from './xds.ts';

/** The client that keeps `state` as the control plane says; `onSynced` is called when all types have been answered. */
export function meshClient(options: {
  readonly config: ZtunnelConfig;
  readonly address: string;
  readonly state: MeshState;
  readonly metrics: ZtunnelMetrics;
  readonly log: Logger;
  readonly onSynced: () => void;
}): XdsClient {
  const { config, address, state, metrics, log } = options;
  const { name, namespace, ip } = config.pod;
  return new XdsClient({
    url: address,
    tls: () => controlPlaneTls(address, config.xdsRoot, config.altXdsHostname),
    headers: () => callHeaders(config, config.xdsHeaders),
    node: {
      id: `ztunnel~${ip}~${name}.${namespace}~${namespace}.svc.cluster.local`,
      metadata: {
        NAME: name,
        NAMESPACE: namespace,
        INSTANCE_IPS: ip,
        NODE_NAME: config.nodeName ?? '',
        CLUSTER_ID: config.clusterId,
        NETWORK: config.network,
        ...config.nodeMetadata,
      },
    },
    subscriptions: meshSubscriptions(state, metrics),
    onState: (at: XdsClientState) => {
      if (at.kind === 'synced') options.onSynced();
      if (at.kind === 'disconnected') metrics.xdsTerminated(at.error === undefined ? 'Complete' : 'ConnectionError');
    },
    log,
  });
}

/** How certificates are signed: by the certificate service of the control plane. */
export function signer(config: ZtunnelConfig, address: string): (identity: string, signal: AbortSignal) => Promise<SignedCertificate> {
  return (identity, signal) =>
    requestCertificate(
      identity,
      {
        address,
        tls: () => controlPlaneTls(address, config.caRoot, config.altCaHostname),
        headers: () => callHeaders(config, config.caHeaders),
        ttlMs: config.secretTtlMs,
        impersonate: config.mode === 'shared',
      },
      signal,
    );
}

/** What each call carries; the token is read anew, as the kubelet replaces it. */
async function callHeaders(config: ZtunnelConfig, extra: Readonly<Record<string, string>>): Promise<Record<string, string>> {
  const token = await readToken(config.authToken);
  return { ...extra, clusterid: config.clusterId, ...(token !== undefined && { authorization: `Bearer ${token}` }) };
}
