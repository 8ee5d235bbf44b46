import type { Gateway, Namespace, Node, Pod, Service, ServiceEntry, WorkloadEntry } from '../../api/kubernetes.ts';
import { gatewayClasses, labels } from '../../api/names.ts';
import { resources, type ResourceType } from '../../api/resources.ts';
import { KubeApiError, type KubeClient } from '../../kube/index.ts';
import { isGlobal } from '../../mesh/index.ts';
import { askIstiodVersion, type IstiodChoice } from './find-istio.ts';
import { findMesh, readRoots, readSigningAuthority, type Mesh, type SigningAuthority } from './mesh-identity.ts';

/** A Service that this cluster exports, or means to. */
export interface GlobalServiceFacts {
  readonly service: Service;
  readonly namespace: Namespace | undefined;
  /** Its pods; read only where the namespace itself is not in the mesh. */
  readonly pods: readonly Pod[];
}

/** What the API server of one cluster says now, of all that `check` judges and `status` shows. */
export interface ClusterFacts {
  /** Of the kubeconfig. */
  readonly context: string;
  readonly mesh: Mesh;
  /** Of istiod: from its manifest, else as it says itself; undefined for ours and when nothing tells. */
  readonly istiodVersion: string | undefined;
  /** What the CNI agents are configured with: environment and ConfigMap. */
  readonly cniSettings: ReadonlyMap<string, string>;
  /** Hex SHA-256 of the trusted roots. */
  readonly roots: readonly string[];
  readonly authority: SigningAuthority | undefined;
  /** Names of all namespaces. */
  readonly namespaces: ReadonlySet<string>;
  /** Of istiod, ztunnel, CNI agent, peering and the gateways. */
  readonly pods: readonly Pod[];
  readonly nodes: readonly Node[];
  readonly eastWest: readonly Gateway[];
  /** Links: one for each peer that this cluster imports from. */
  readonly remote: readonly Gateway[];
  readonly globalServices: readonly GlobalServiceFacts[];
  /** Those with peering's names. */
  readonly serviceEntries: readonly ServiceEntry[];
  readonly workloadEntries: readonly WorkloadEntry[];
}

/** Reads them. Throws MESH_NOT_INSTALLED, MESH_AMBIGUOUS, KUBE_API, KUBE_UNREACHABLE. */
export async function readClusterFacts(client: KubeClient, choice: IstiodChoice): Promise<ClusterFacts> {
  const mesh = await findMesh(client, choice);
  const { istiod } = mesh;
  const [version, cniSettings, roots, authority, pods, nodes, gateways, namespaces, serviceEntries, workloadEntries] = await Promise.all([
    istiod.isIsthmus ? undefined : (istiod.version ?? askIstiodVersion(client, istiod)),
    readCniSettings(client, mesh),
    readRoots(client, istiod),
    readSigningAuthority(client, istiod.namespace),
    readComponentPods(client),
    client.list(resources.nodes).then(({ items }) => items),
    listServed(client, resources.gateways),
    client.list(resources.namespaces).then(({ items }) => items),
    listServed(client, resources.serviceEntries),
    listServed(client, resources.workloadEntries),
  ]);
  return {
    context: client.transport.config.context,
    mesh,
    istiodVersion: version,
    cniSettings,
    roots,
    authority,
    pods,
    nodes,
    eastWest: gateways.filter(({ spec }) => spec.gatewayClassName === gatewayClasses.eastWest),
    remote: gateways.filter(({ spec }) => spec.gatewayClassName === gatewayClasses.remote),
    namespaces: new Set(namespaces.map(({ metadata }) => metadata.name)),
    globalServices: await readGlobalServices(client, namespaces),
    serviceEntries: serviceEntries.filter(({ metadata }) => metadata.name.startsWith('autogen.')),
    workloadEntries: workloadEntries.filter(({ metadata }) => /^autogen(flat)?\./.test(metadata.name)),
  };
}

async function readCniSettings(client: KubeClient, { cnis }: Mesh): Promise<ReadonlyMap<string, string>> {
  const settings = new Map<string, string>();
  for (const { object, namespace, env } of cnis) {
    const names = object.spec?.template.spec?.containers.flatMap(({ envFrom = [] }) =>
      envFrom.flatMap(({ configMapRef }) => configMapRef?.name ?? []),
    );
    for (const name of names ?? []) {
      const config = await client.find(resources.configMaps, { name, namespace });
      for (const [key, value] of Object.entries(config?.data ?? {})) settings.set(key, value);
    }
    // What the container names itself counts before what it takes from elsewhere.
    for (const [key, value] of env) settings.set(key, value);
  }
  return settings;
}

/** Which pods are those of the components; a pod may match several. */
export const componentPodSelectors = ['app in (istiod,ztunnel,isthmus-peering)', 'k8s-app=istio-cni-node', labels.gatewayName] as const;

async function readComponentPods(client: KubeClient): Promise<readonly Pod[]> {
  const lists = await Promise.all(componentPodSelectors.map((labelSelector) => client.list(resources.pods, { labelSelector })));
  return [...new Map(lists.flatMap(({ items }) => items).map((pod) => [pod.metadata.uid, pod])).values()];
}

async function readGlobalServices(client: KubeClient, all: readonly Namespace[]): Promise<readonly GlobalServiceFacts[]> {
  const namespaces = new Map(all.map((namespace) => [namespace.metadata.name, namespace]));
  const labelled = [...namespaces.values()].filter(({ metadata }) => metadata.labels?.[labels.serviceScope] !== undefined);
  const lists = await Promise.all([
    client.list(resources.services, { labelSelector: labels.serviceScope }),
    ...labelled.map(({ metadata }) => client.list(resources.services, { namespace: metadata.name })),
  ]);
  const services = new Map(lists.flatMap(({ items }) => items).map((service) => [service.metadata.uid, service]));
  const found: GlobalServiceFacts[] = [];
  for (const service of services.values()) {
    const namespace = namespaces.get(service.metadata.namespace ?? '');
    if (!isGlobal(service.metadata, namespace?.metadata)) continue;
    const pods = isInMesh(namespace) ? [] : await readPodsOf(client, service);
    found.push({ service, namespace, pods });
  }
  return found;
}

async function readPodsOf(client: KubeClient, { metadata, spec }: Service): Promise<readonly Pod[]> {
  const labelSelector = Object.entries(spec?.selector ?? {})
    .map(([name, value]) => `${name}=${value}`)
    .join(',');
  if (labelSelector === '') return [];
  return (await client.list(resources.pods, { namespace: metadata.namespace, labelSelector })).items;
}

/** True for a namespace whose pods are captured by ztunnel, or get a sidecar. */
export function isInMesh(namespace: Namespace | undefined): boolean {
  const of = namespace?.metadata.labels ?? {};
  if (of[labels.dataplaneMode] !== undefined) return of[labels.dataplaneMode] === 'ambient';
  return of['istio-injection'] === 'enabled' || (of['istio-injection'] === undefined && of['istio.io/rev'] !== undefined);
}

/** All objects of a kind; none when its CRD is not there. */
async function listServed<T extends Gateway | ServiceEntry | WorkloadEntry>(
  client: KubeClient,
  type: ResourceType<T>,
): Promise<readonly T[]> {
  try {
    return (await client.list(type)).items;
  } catch (error) {
    if (error instanceof KubeApiError && error.httpCode === 404) return [];
    throw error;
  }
}
