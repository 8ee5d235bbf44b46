import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { rootCertificates } from 'node:tls';

import { IsthmusError, type Logger } from '../core/index.ts';
import { XdsClient, type ClientTls, type XdsClientState } from '../xds/index.ts';
import { requestCertificate } from './certificate-client.ts';
import type { SignedCertificate } from './certificates.ts';
import { asPath, type ZtunnelConfig } from './config.ts';
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
    tls: () => clientTls(address, config.xdsRoot, config.altXdsHostname),
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
        tls: () => clientTls(address, config.caRoot, config.altCaHostname),
        headers: () => callHeaders(config, config.caHeaders),
        ttlMs: config.secretTtlMs,
        impersonate: config.mode === 'shared',
      },
      signal,
    );
}

/** The roots are read for each connection: the file changes when the root is rotated. */
async function clientTls(address: string, root: string, alternative: string | undefined): Promise<ClientTls> {
  const roots = root === 'SYSTEM' ? rootCertificates.join('\n') : root.includes('-----BEGIN') ? root : await readFile(asPath(root), 'utf8');
  if (alternative === undefined) return { roots };
  const host = new URL(address).hostname.replace(/^\[|\]$/g, '');
  return {
    roots,
    ...(isIP(host) !== 0 && { serverName: alternative }),
    verifyServer: ([leaf]) => {
      const fits = leaf.checkHost(alternative) ?? (isIP(host) === 0 ? leaf.checkHost(host) : leaf.checkIP(host));
      if (fits === undefined) {
        throw new IsthmusError('XDS_CONNECT', `the certificate of ${address} is neither for ${host} nor for ${alternative}`);
      }
    },
  };
}

/** What each call carries; the token is read anew, as the kubelet replaces it. */
async function callHeaders(config: ZtunnelConfig, extra: Readonly<Record<string, string>>): Promise<Record<string, string>> {
  const token = await readToken(config.authToken);
  return { ...extra, clusterid: config.clusterId, ...(token !== undefined && { authorization: `Bearer ${token}` }) };
}

async function readToken(source: string): Promise<string | undefined> {
  if (!source.includes('/')) return source;
  let token: string;
  try {
    token = (await readFile(asPath(source), 'utf8')).trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  if (token === '') throw new IsthmusError('ISTHMUS_CONFIG_INVALID', `the token file ${source} is empty`);
  return token;
}
