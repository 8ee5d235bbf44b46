import { createHash, X509Certificate } from 'node:crypto';

import { parse } from 'yaml';

import { labels } from '../../api/names.ts';
import { resources } from '../../api/resources.ts';
import { IsthmusError } from '../../core/index.ts';
import type { KubeClient } from '../../kube/index.ts';

/** How one cluster's mesh is called, read from its installation. */
export interface MeshIdentity {
  readonly clusterId: string;
  readonly network: string;
  readonly trustDomain: string;
}

/**
 * Reads cluster id, network and trust domain of an installation, ours or another Istio's: CLUSTER_ID of the Deployment
 * istiod, the network label of its namespace, trustDomain of the mesh configuration. Throws MESH_NOT_INSTALLED,
 * MESH_NETWORK_UNSET.
 */
export async function readMeshIdentity(client: KubeClient, istioNamespace: string): Promise<MeshIdentity> {
  const context = client.transport.config.context;
  const { items } = await client.list(resources.deployments, { namespace: istioNamespace, labelSelector: 'app=istiod' });
  const env = items[0]?.spec?.template.spec?.containers.flatMap((container) => container.env ?? []) ?? [];
  const clusterId = env.find(({ name }) => name === 'CLUSTER_ID')?.value;
  if (items.length === 0 || clusterId === undefined) {
    throw new IsthmusError('MESH_NOT_INSTALLED', `${context}: no istiod deployment found in namespace "${istioNamespace}"`, {
      hint: `isthmus install --context ${context}, or name the namespace with -i`,
    });
  }
  const network = (await client.get(resources.namespaces, { name: istioNamespace })).metadata.labels?.[labels.network];
  if (network === undefined || network === '') {
    throw new IsthmusError('MESH_NETWORK_UNSET', `${context}: fetched namespace ${istioNamespace} but '${labels.network}' is not set`, {
      hint: `kubectl --context ${context} label namespace ${istioNamespace} ${labels.network}=<network>`,
    });
  }
  const mesh = await client.find(resources.configMaps, { name: 'istio', namespace: istioNamespace });
  const config: unknown = parse(mesh?.data?.['mesh'] ?? '{}');
  const trustDomain = typeof config === 'object' && config !== null && 'trustDomain' in config ? config.trustDomain : undefined;
  return { clusterId, network, trustDomain: typeof trustDomain === 'string' && trustDomain !== '' ? trustDomain : 'cluster.local' };
}

/**
 * Hex SHA-256 of the public key of the CA that signs this cluster's certificates: what tells clusters with one root
 * and one trust domain apart. Undefined when the user may not read the CA's Secret; the link then pins the first one seen.
 */
export async function readCaFingerprint(client: KubeClient, istioNamespace: string): Promise<string | undefined> {
  for (const name of ['cacerts', 'istio-ca-secret']) {
    try {
      const secret = await client.find(resources.secrets, { name, namespace: istioNamespace });
      const pem = secret?.data?.['ca-cert.pem'];
      if (pem === undefined) continue;
      const certificate = new X509Certificate(Buffer.from(pem, 'base64'));
      return createHash('sha256')
        .update(certificate.publicKey.export({ type: 'spki', format: 'der' }))
        .digest('hex');
    } catch (error) {
      if (error instanceof IsthmusError && error.code === 'KUBE_API') return undefined;
      throw error;
    }
  }
  return undefined;
}
