import type { CustomResourceDefinition, DaemonSet, Deployment, KubeObject, Namespace } from '../../api/kubernetes.ts';
import { istioNamespace, labels } from '../../api/names.ts';
import { resources } from '../../api/resources.ts';
import { waitForObjects, type KubeClient } from '../../kube/index.ts';
import { applyObjects } from '../apply.ts';
import { cniManifests } from './cni.ts';
import { istiodManifests } from './istiod.ts';
import { managedBy, type InstallOptions } from './options.ts';
import { ztunnelManifests } from './ztunnel.ts';

export interface InstallRun {
  readonly client: KubeClient;
  readonly options: InstallOptions;
  /** Hears of every step as it begins. */
  readonly progress: (step: string) => void;
  /** How long to wait for each component to be ready, milliseconds; 0 does not wait. */
  readonly timeout: number;
  readonly signal?: AbortSignal;
}

/**
 * Puts the mesh into a cluster: CRDs, then control plane, CNI agent and ztunnel, and waits until they are ready by their
 * probes. Run again it changes what differs. Throws KUBE_API, KUBE_UNREACHABLE, ISTHMUS_TIMEOUT.
 */
export async function install({ client, options, progress, timeout, signal }: InstallRun): Promise<void> {
  const bounds = { ...(signal && { signal }) };
  progress('custom resource definitions');
  await installCrds(client, timeout, bounds);
  progress(`namespace ${istioNamespace}`);
  await applyObjects(client, [namespaceManifest(options)], bounds);
  progress('istiod, CNI agent and ztunnel');
  await applyObjects(client, [...istiodManifests(options), ...cniManifests(options), ...ztunnelManifests(options)], bounds);
  if (timeout === 0) return;
  progress('waiting until all are ready');
  await waitUntilReady(client, timeout, signal);
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

async function waitUntilReady(client: KubeClient, timeout: number, signal: AbortSignal | undefined): Promise<void> {
  const base = { client, namespace: istioNamespace, timeout, signal };
  const deployment = waitForObjects(
    { ...base, type: resources.deployments, fieldSelector: 'metadata.name=istiod', what: 'Deployment istiod to be ready' },
    (found) => found.some(isDeploymentReady),
  );
  const daemonSets = ['istio-cni-node', 'ztunnel'].map((name) =>
    waitForObjects(
      { ...base, type: resources.daemonSets, fieldSelector: `metadata.name=${name}`, what: `DaemonSet ${name} to be ready` },
      (found) => found.some(isDaemonSetReady),
    ),
  );
  await Promise.all([deployment, ...daemonSets]);
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
