import type { DaemonSet, Deployment, KubeObject } from '../../api/kubernetes.ts';
import { resources } from '../../api/resources.ts';
import { IsthmusError } from '../../core/index.ts';
import { collectionPath, KubeApiError, type KubeClient } from '../../kube/index.ts';

/** Which istiod of a cluster is meant; empty: the only one. */
export interface IstiodChoice {
  /** Its namespace (`-i`). */
  readonly istioNamespace?: string | undefined;
  /** Label `istio.io/rev` (`--revision`). */
  readonly revision?: string | undefined;
}

/** A workload of the mesh as its manifest says. */
export interface Component<T extends Deployment | DaemonSet = Deployment | DaemonSet> {
  readonly object: T;
  readonly namespace: string;
  readonly name: string;
  /** Values that stand in the manifest; those that come from fields, Secrets or ConfigMaps are left out. */
  readonly env: ReadonlyMap<string, string>;
  /** Of Istio: `1.27`, `1.27.1`; undefined when neither image nor labels tell. */
  readonly version: string | undefined;
}

/** A control plane. */
export interface Istiod extends Component<Deployment> {
  /** Label `istio.io/rev`; `default` without one. */
  readonly revision: string;
  /** True for ours, which peers by itself; false for an Istio of others, beside which `isthmus peering` runs. */
  readonly isIsthmus: boolean;
}

/** What makes up the mesh of a cluster besides istiod, in whatever namespaces. */
export interface DataPlane {
  readonly ztunnels: readonly Component<DaemonSet>[];
  readonly cnis: readonly Component<DaemonSet>[];
  /** Deployment isthmus-peering. */
  readonly peering: Component<Deployment> | undefined;
}

/** Name of the Deployment, ServiceAccount and Service of `isthmus peering`. */
export const peeringName = 'isthmus-peering';

/** Every control plane of a cluster, by label, in all namespaces (or in the one that was chosen). */
export async function listIstiods(client: KubeClient, { istioNamespace, revision }: IstiodChoice = {}): Promise<readonly Istiod[]> {
  const { items } = await client.list(resources.deployments, { namespace: istioNamespace, labelSelector: 'app=istiod' });
  const all = items.map((object): Istiod => {
    const of = { ...object.metadata.labels, ...object.spec?.template.metadata?.labels };
    const args = containersOf(object).flatMap((container) => container.args ?? []);
    const isIsthmus = args[0] === 'istiod';
    return { ...component(object), revision: of['istio.io/rev'] ?? 'default', isIsthmus, ...(isIsthmus && { version: undefined }) };
  });
  return revision === undefined ? all : all.filter((istiod) => istiod.revision === revision);
}

/**
 * The control plane of a cluster's ambient mesh: the one that was chosen, else the only one, else (several revisions in one
 * namespace) the one that ztunnel asks. Throws MESH_NOT_INSTALLED, MESH_AMBIGUOUS.
 */
export async function findIstiod(client: KubeClient, choice: IstiodChoice = {}, dataPlane?: DataPlane): Promise<Istiod> {
  const { context } = client.transport.config;
  const found = await listIstiods(client, choice);
  const [first] = found;
  if (first === undefined) {
    const { istioNamespace, revision } = choice;
    const where = istioNamespace === undefined ? '' : ` in namespace "${istioNamespace}"`;
    const which = revision === undefined ? '' : ` of revision "${revision}"`;
    throw new IsthmusError('MESH_NOT_INSTALLED', `${context}: no istiod deployment found${where}${which}`, {
      hint: `isthmus install --context ${context}, or name the namespace with -i`,
    });
  }
  if (found.length === 1) return first;
  if (found.every(({ namespace }) => namespace === first.namespace)) {
    const { ztunnels } = dataPlane ?? (await findDataPlane(client));
    const asked = found.filter((istiod) => ztunnels.some((ztunnel) => asks(ztunnel, istiod)));
    if (asked.length === 1 && asked[0] !== undefined) return asked[0];
  }
  const list = found.map(({ namespace, name, revision }) => `${namespace}/${name} (revision ${revision})`).join(', ');
  throw new IsthmusError('MESH_AMBIGUOUS', `${context}: there are several istiods: ${list}`, {
    hint: 'choose one with -i NAMESPACE or --revision NAME',
  });
}

/** ztunnel, CNI agent and peering of a cluster, by label, in all namespaces. */
export async function findDataPlane(client: KubeClient): Promise<DataPlane> {
  const { items } = await client.list(resources.daemonSets);
  const peering = await client.list(resources.deployments, { labelSelector: `app=${peeringName}` });
  // Charts put these labels on the pods; not all of their versions put them on the DaemonSet as well.
  const labelled = (name: string, value: string): readonly Component<DaemonSet>[] =>
    items.filter(({ spec }) => spec?.template.metadata?.labels?.[name] === value).map((object) => component(object));
  const [first] = peering.items;
  return {
    ztunnels: labelled('app', 'ztunnel'),
    cnis: labelled('k8s-app', 'istio-cni-node'),
    peering: first === undefined ? undefined : component(first),
  };
}

/** The version that a running istiod says of itself, through the API server; undefined when that way is closed or it says none. */
export async function askIstiodVersion(client: KubeClient, istiod: Istiod): Promise<string | undefined> {
  const { items } = await client.list(resources.pods, { namespace: istiod.namespace, labelSelector: 'app=istiod' });
  const pod = items.find(({ metadata, status }) => metadata.name.startsWith(`${istiod.name}-`) && status?.phase === 'Running');
  if (pod === undefined) return undefined;
  const path = `${collectionPath(resources.pods, istiod.namespace)}/${pod.metadata.name}:15014/proxy/version`;
  try {
    const response = await client.transport.open({ method: 'GET', path, accept: '*/*', timeout: 3_000 });
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    return versionIn(Buffer.concat(chunks).toString('utf8'));
  } catch (error) {
    if (error instanceof KubeApiError || (error instanceof IsthmusError && error.code === 'KUBE_UNREACHABLE')) return undefined;
    throw error;
  }
}

/** True when a ztunnel has its configuration from this control plane, by its XDS_ADDRESS (`istiod-1-27.istio-system.svc:15012`). */
function asks(ztunnel: Component, istiod: Istiod): boolean {
  const address = ztunnel.env.get('XDS_ADDRESS') ?? ztunnel.env.get('CA_ADDRESS') ?? '';
  const [host = ''] = address.replace(/^https?:\/\//, '').split(':');
  const [service, namespace] = host.split('.');
  return service === istiodService(istiod) && namespace === istiod.namespace;
}

/** The Service before a control plane: `istiod`, or `istiod-<revision>`, as upstream's charts name it and its Deployment. */
export function istiodService(istiod: Pick<Istiod, 'revision'>): string {
  return istiod.revision === 'default' ? 'istiod' : `istiod-${istiod.revision}`;
}

function component<T extends Deployment | DaemonSet>(object: T): Component<T> {
  const env = new Map<string, string>();
  for (const container of containersOf(object)) {
    for (const { name, value } of container.env ?? []) if (value !== undefined) env.set(name, value);
  }
  return { object, namespace: object.metadata.namespace ?? '', name: object.metadata.name, env, version: manifestVersion(object) };
}

/** The containers of a workload's template. */
export function containersOf(object: Deployment | DaemonSet) {
  return object.spec?.template.spec?.containers ?? [];
}

/** By the image's tag, which is what runs; else by the chart's label. */
function manifestVersion(object: Deployment | DaemonSet): string | undefined {
  for (const { image = '' } of containersOf(object)) {
    const name = image.split('@')[0]?.split('/').at(-1) ?? '';
    const [repository, tag] = name.split(':');
    const version = repository === 'isthmus' ? undefined : versionIn(tag ?? '');
    if (version !== undefined) return version;
  }
  return versionIn(labelOf(object, 'app.kubernetes.io/version') ?? '');
}

function labelOf(object: KubeObject, name: string): string | undefined {
  return object.metadata.labels?.[name];
}

/** `1.27` of `v1.27`, `1.27.1` of `1.27.1-distroless`. */
function versionIn(text: string): string | undefined {
  return /(?:^|[^\d.])v?(\d+\.\d+(?:\.\d+)?)(?=$|[^\d.])/.exec(text)?.[1];
}
