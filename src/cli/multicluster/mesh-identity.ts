import { parse } from 'yaml';

import type { Lease, Secret } from '../../api/kubernetes.ts';
import { labels, ports } from '../../api/names.ts';
import { resources } from '../../api/resources.ts';
import { IsthmusError } from '../../core/index.ts';
import { KubeApiError, type KubeClient } from '../../kube/index.ts';
import { isSelfSigned, publicKeySha256, readCertificates } from '../../pki/index.ts';
import { findDataPlane, findIstiod, istiodService, listIstiods, type DataPlane, type Istiod, type IstiodChoice } from './find-istio.ts';

/** A cluster's mesh as it was found, ours or another Istio's. */
export interface Mesh extends DataPlane {
  readonly istiod: Istiod;
  /** CLUSTER_ID of isthmus-peering, else of istiod; upstream's default `Kubernetes`. */
  readonly clusterId: string;
  /** NETWORK of isthmus-peering, else the label of istiod's namespace; undefined when neither says. */
  readonly network: string | undefined;
  readonly trustDomain: string;
}

/** How one cluster's mesh is called, and where its parts are: what peering has to know. */
export interface MeshIdentity {
  readonly clusterId: string;
  readonly network: string;
  readonly trustDomain: string;
  /** Of istiod. */
  readonly istioNamespace: string;
  /** `default`, or that of a revisioned istiod. */
  readonly revision: string;
  /** host:port where certificates of the mesh are signed: ztunnel's CA_ADDRESS, else istiod's Service. */
  readonly caAddress: string;
  /** The ConfigMap with the mesh's root (`root-cert.pem`), which istiod puts into every namespace. */
  readonly rootConfigMap: string;
  /** True for our istiod, which peers by itself. */
  readonly isIsthmus: boolean;
}

/**
 * Finds istiod and the rest of a cluster's mesh, by labels, in all namespaces. Throws MESH_NOT_INSTALLED, MESH_AMBIGUOUS.
 */
export async function findMesh(client: KubeClient, choice: IstiodChoice = {}): Promise<Mesh> {
  const dataPlane = await findDataPlane(client);
  const istiod = await findIstiod(client, choice, dataPlane);
  const peering = istiod.isIsthmus ? undefined : dataPlane.peering;
  const namespace = await client.find(resources.namespaces, { name: istiod.namespace });
  const network = peering?.env.get('NETWORK') || namespace?.metadata.labels?.[labels.network] || undefined;
  const clusterId = peering?.env.get('CLUSTER_ID') || istiod.env.get('CLUSTER_ID') || 'Kubernetes';
  return { ...dataPlane, istiod, clusterId, network, trustDomain: await readTrustDomain(client, istiod) };
}

/**
 * What peering has to know of a cluster. Throws MESH_NOT_INSTALLED, MESH_AMBIGUOUS, and MESH_NETWORK_UNSET when nothing says which network
 * the cluster is in.
 */
export async function readMeshIdentity(client: KubeClient, choice: IstiodChoice = {}): Promise<MeshIdentity> {
  return identityOf(client, await findMesh(client, choice));
}

/** {@link readMeshIdentity} of a mesh that was found already. Throws MESH_NETWORK_UNSET. */
export function identityOf(client: KubeClient, mesh: Mesh): MeshIdentity {
  const { istiod, clusterId, network, trustDomain, ztunnels } = mesh;
  const { context } = client.transport.config;
  if (network === undefined) {
    throw new IsthmusError('MESH_NETWORK_UNSET', `${context}: fetched namespace ${istiod.namespace} but '${labels.network}' is not set`, {
      hint: `kubectl --context ${context} label namespace ${istiod.namespace} ${labels.network}=<network>`,
    });
  }
  const caAddress = ztunnels.map(({ env }) => env.get('CA_ADDRESS')).find((address) => address !== undefined && address !== '');
  return {
    clusterId,
    network,
    trustDomain,
    istioNamespace: istiod.namespace,
    revision: istiod.revision,
    caAddress: caAddress ?? `${istiodService(istiod)}.${istiod.namespace}.svc:${String(ports.istiodTls)}`,
    rootConfigMap: rootConfigMapOf(istiod),
    isIsthmus: istiod.isIsthmus,
  };
}

/** trustDomain of the mesh configuration: ConfigMap `istio`, or `istio-<revision>`. */
async function readTrustDomain(client: KubeClient, istiod: Istiod): Promise<string> {
  const name = istiod.revision === 'default' ? 'istio' : `istio-${istiod.revision}`;
  const mesh = await client.find(resources.configMaps, { name, namespace: istiod.namespace });
  const config: unknown = parse(mesh?.data?.['mesh'] ?? '{}');
  const trustDomain = typeof config === 'object' && config !== null && 'trustDomain' in config ? config.trustDomain : undefined;
  return typeof trustDomain === 'string' && trustDomain !== '' ? trustDomain : 'cluster.local';
}

function rootConfigMapOf(istiod: Istiod): string {
  return istiod.env.get('PILOT_CA_CERT_CONFIGMAP') || 'istio-ca-root-cert';
}

/** The hex SHA-256 of each root that a cluster's workloads trust (of the whole certificates); empty when it cannot be read. */
export async function readRoots(client: KubeClient, istiod: Istiod): Promise<readonly string[]> {
  const ref = { name: rootConfigMapOf(istiod), namespace: istiod.namespace };
  const roots = await unlessForbidden(client.find(resources.configMaps, ref));
  const pem = roots?.data?.['root-cert.pem'] ?? '';
  return readCertificates(pem, `ConfigMap ${ref.namespace}/${ref.name}`)
    .map(({ fingerprint256 }) => fingerprint256.replaceAll(':', '').toLowerCase())
    .sort();
}

/** The authority that signs a cluster's certificates. */
export interface SigningAuthority {
  /** `cacerts`, or `istio-ca-secret`, which istiod makes itself. */
  readonly secret: string;
  /** Hex SHA-256 of its public key: what tells clusters with one root and one trust domain apart. */
  readonly sha256: string;
  /** True: signed by itself, so that no other cluster can have a root in common with this one. */
  readonly isSelfSigned: boolean;
}

/**
 * Reads the authority of a cluster from its Secret. Undefined when the user may not read it, or when the authority is no Secret of
 * istiod's namespace (cert-manager's istio-csr, for one).
 */
export async function readSigningAuthority(client: KubeClient, namespace: string): Promise<SigningAuthority | undefined> {
  for (const name of ['cacerts', 'istio-ca-secret']) {
    const secret = await unlessForbidden(client.find(resources.secrets, { name, namespace }));
    const [certificate] = readCertificates(authorityPem(secret), `Secret ${namespace}/${name}`);
    if (certificate === undefined) continue;
    return { secret: name, sha256: publicKeySha256(certificate), isSelfSigned: isSelfSigned(certificate) };
  }
  return undefined;
}

/** Istio takes a Secret `cacerts` of its own form, and one of type kubernetes.io/tls. */
function authorityPem(secret: Secret | undefined): string {
  const data = secret?.data?.['tls.crt'] ?? secret?.data?.['ca-cert.pem'] ?? '';
  return Buffer.from(data, 'base64').toString('utf8');
}

async function unlessForbidden<T>(found: Promise<T>): Promise<T | undefined> {
  try {
    return await found;
  } catch (error) {
    if (error instanceof KubeApiError && error.httpCode === 403) return undefined;
    throw error;
  }
}

/** Name of the Lease that the peering process which writes holds, inside a cluster or outside of it. */
const peeringLease = 'isthmus-peering-leader';

/** True when something in a cluster (or outside, with a kubeconfig) peers for it: our istiod, Deployment isthmus-peering, or who holds the Lease. */
export async function isPeeringThere(client: KubeClient): Promise<boolean> {
  const [istiods, { peering }, leases] = await Promise.all([
    listIstiods(client),
    findDataPlane(client),
    unlessForbidden(client.list(resources.leases, { fieldSelector: `metadata.name=${peeringLease}` })),
  ]);
  if (peering !== undefined || istiods.some(({ isIsthmus }) => isIsthmus)) return true;
  return leases?.items.some(isHeld) ?? false;
}

function isHeld({ spec }: Lease): boolean {
  if (spec?.holderIdentity === undefined || spec.holderIdentity === '') return false;
  const renewed = Date.parse(spec.renewTime ?? '');
  // Clocks may differ a little: ten times the lease.
  return Date.now() - renewed < 10_000 * (spec.leaseDurationSeconds ?? 15);
}
