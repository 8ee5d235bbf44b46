import type { CustomResourceDefinition, DaemonSet, Deployment, KubeObject, Namespace } from '../../api/kubernetes.ts';
import { istioNamespace, labels } from '../../api/names.ts';
import { resources } from '../../api/resources.ts';
import { IsthmusError } from '../../core/index.ts';
import { waitForObjects, type KubeClient } from '../../kube/index.ts';
import { applyObjects } from '../apply.ts';
import { cniManifests } from './cni.ts';
import { findForeign } from './foreign.ts';
import { istiodManifests } from './istiod.ts';
import { defaultComponents, managedBy, type Component, type InstallOptions } from './options.ts';
import { peeringManifests } from './peering.ts';
import { upstreamIstiodManifests } from './upstream-istiod.ts';
import { ztunnelManifests } from './ztunnel.ts';

export interface InstallRun {
  readonly client: KubeClient;
  readonly options: InstallOptions;
  /** Default {@link defaultComponents}. */
  readonly components?: ReadonlySet<Component>;
  /** Hears of every step as it begins. */
  readonly progress: (step: string) => void;
  /** How long to wait for each component to be ready, milliseconds; 0 does not wait. */
  readonly timeout: number;
  readonly signal?: AbortSignal;
}

/**
 * Puts the mesh, or some components of it, into a cluster: CRDs, then control plane, CNI agent and ztunnel, and waits until they are
 * ready by their probes. Run again it changes what differs. Throws INSTALL_NOT_OURS, and has then changed nothing; KUBE_API, KUBE_UNREACHABLE, ISTHMUS_TIMEOUT.
 */
export async function install({ client, options, progress, timeout, signal, ...run }: InstallRun): Promise<void> {
  const bounds = { ...(signal && { signal }) };
  const components = run.components ?? defaultComponents(options.programs);
  await refuseForeign(client);
  if (components.has('base')) {
    progress('custom resource definitions');
    await installCrds(client, timeout, bounds);
    progress(`namespace ${istioNamespace}`);
    await applyObjects(client, [namespaceManifest(options)], bounds);
  }
  const workloads = workloadsOf(components, options);
  if (workloads.length === 0) return;
  progress(inWords(workloads.map(({ name }) => name)));
  await applyObjects(
    client,
    workloads.flatMap(({ objects }) => objects),
    bounds,
  );
  if (timeout === 0) return;
  progress('waiting until all are ready');
  const base = { client, timeout, signal };
  await Promise.all(workloads.map(({ objects }) => waitUntilReady(objects, base)));
}

/** Ours are applied by force: they would take over the objects of the Istio that is there. */
async function refuseForeign(client: KubeClient): Promise<void> {
  const foreign = await findForeign(client, 'istiod');
  if (foreign === undefined) return;
  const { context } = client.transport.config;
  throw new IsthmusError('INSTALL_NOT_OURS', `${context}: Deployment ${foreign} was not installed by isthmus, and would be overwritten`, {
    hint: `isthmus install --components peering --context ${context} puts peering beside it`,
  });
}

interface Workload {
  readonly name: string;
  readonly objects: readonly KubeObject[];
}

/** What runs of an installation, in the order in which it is applied. */
function workloadsOf(components: ReadonlySet<Component>, options: InstallOptions): readonly Workload[] {
  const { istiod } = options.programs ?? {};
  const all: Readonly<Record<Exclude<Component, 'base'>, () => Workload>> = {
    istiod: () => ({ name: 'istiod', objects: istiod === undefined ? istiodManifests(options) : upstreamIstiodManifests(options, istiod) }),
    cni: () => ({ name: 'CNI agent', objects: cniManifests(options) }),
    ztunnel: () => ({ name: 'ztunnel', objects: ztunnelManifests(options) }),
    peering: () => ({ name: 'peering', objects: peeringManifests({ namespace: istioNamespace, ...options }) }),
  };
  return Object.entries(all).flatMap(([component, workload]) => (components.has(component as Component) ? [workload()] : []));
}

function inWords(names: readonly string[]): string {
  return names.length < 2 ? names.join('') : `${names.slice(0, -1).join(', ')} and ${names.at(-1) ?? ''}`;
}

/**
 * The Gateway API is often there already, installed by the platform: then it is left as it is. Istio's CRDs belong to
 * the mesh and are brought to this version.
 */
async function installCrds(client: KubeClient, timeout: number, bounds: { signal?: AbortSignal }): Promise<void> {
  const { gatewayApiCrds, istioCrds } = await import('../../api/crds/index.ts');
  const wanted: KubeObject[] = istioCrds();
  const foreign = await client.find(resources.customResourceDefinitions, { name: 'gateways.gateway.networking.k8s.io' });
  if (foreign === undefined || foreign.metadata.labels?.['app.kubernetes.io/managed-by'] === 'isthmus') wanted.push(...gatewayApiCrds());
  const labelled = wanted.map((crd) => ({ ...crd, metadata: { ...crd.metadata, labels: { ...crd.metadata.labels, ...managedBy } } }));
  await applyObjects(client, labelled, bounds);
  const names = new Set(labelled.map((crd) => crd.metadata.name));
  await waitForObjects(
    {
      client,
      type: resources.customResourceDefinitions,
      what: 'custom resource definitions to be established',
      timeout: timeout || 30_000,
      ...bounds,
    },
    (crds) => crds.filter((crd) => names.has(crd.metadata.name) && isEstablished(crd)).length === names.size,
  );
}

function isEstablished(crd: CustomResourceDefinition): boolean {
  return crd.status?.conditions?.some(({ type, status }) => type === 'Established' && status === 'True') ?? false;
}

function namespaceManifest(options: InstallOptions): Namespace {
  return {
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name: istioNamespace, labels: { [labels.network]: options.network, [labels.cluster]: options.clusterId } },
  };
}

/** Waits for every Deployment and DaemonSet among the objects. Throws ISTHMUS_TIMEOUT. */
export async function waitUntilReady(
  objects: readonly KubeObject[],
  base: { readonly client: KubeClient; readonly timeout: number; readonly signal: AbortSignal | undefined },
): Promise<void> {
  const waits = objects.map(async ({ kind, metadata: { name, namespace = istioNamespace } }) => {
    const one = { ...base, namespace, fieldSelector: `metadata.name=${name}`, what: `${kind} ${name} to be ready` };
    if (kind === 'Deployment') await waitForObjects({ ...one, type: resources.deployments }, (found) => found.some(isDeploymentReady));
    else if (kind === 'DaemonSet') await waitForObjects({ ...one, type: resources.daemonSets }, (found) => found.some(isDaemonSetReady));
  });
  await Promise.all(waits);
}

/** Every replica of the newest template is there and ready. */
export function isDeploymentReady(deployment: Deployment): boolean {
  const { spec, status, metadata } = deployment;
  const wanted = spec?.replicas ?? 1;
  return (
    (status?.observedGeneration ?? 0) >= (metadata.generation ?? 0) && status?.updatedReplicas === wanted && status.readyReplicas === wanted
  );
}

/** Every node that should run it does, ready. */
export function isDaemonSetReady(daemonSet: DaemonSet): boolean {
  const { status, metadata } = daemonSet;
  return (
    status !== undefined &&
    (status.observedGeneration ?? 0) >= (metadata.generation ?? 0) &&
    status.desiredNumberScheduled > 0 &&
    status.updatedNumberScheduled === status.desiredNumberScheduled &&
    status.numberReady === status.desiredNumberScheduled
  );
}
