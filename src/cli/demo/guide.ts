import { readFile } from 'node:fs/promises';
import path from 'node:path';

import { parseAllDocuments } from 'yaml';

import type { KubeObject, Pod } from '../../api/kubernetes.ts';
import { globalHostname, istioNamespace, labels } from '../../api/names.ts';
import { resources } from '../../api/resources.ts';
import { describeError, IsthmusError, sleep, withTimeout } from '../../core/index.ts';
import { execInPod, waitForObjects, type KubeClient } from '../../kube/index.ts';
import { applyObjects } from '../apply.ts';
import { isDeploymentReady } from '../install/install.ts';
import { checkCluster, type ClusterReport } from '../multicluster/check.ts';
import { expose, waitForProgrammed } from '../multicluster/expose.ts';
import { worstOf } from '../multicluster/findings.ts';
import { link } from '../multicluster/link.ts';

/** One of the guide's clusters. */
export interface DemoCluster {
  /** Context and cluster id. */
  readonly name: string;
  readonly client: KubeClient;
  /** What its instances of the global service answer: v1, v2, … */
  readonly version: string;
  /** Programs of this machine that it runs in place of our istiod and ztunnel. */
  readonly binaries: { readonly istiod: string | undefined; readonly ztunnel: string | undefined };
  /** Where the entries of global services are: istio-system, and with Istio's own istiod the namespace of the service. */
  readonly entryNamespace: string;
}

export const gatewayNamespace = 'istio-eastwest';
export const demoNamespace = 'demo';
export const globalService = 'global-service';
export const globalUrl = `${globalHostname(globalService, demoNamespace)}:5000/hello`;

const samples = path.resolve(import.meta.dirname, '../../../samples');

/** Milliseconds; each wait of the demo is given up after this. */
const patience = 60_000;

/** The guide's "Link clusters": a namespace and an east-west gateway in each, then one Gateway per peer. */
export async function linkClusters(clusters: readonly DemoCluster[], print: (line: string) => void): Promise<void> {
  await Promise.all(
    clusters.map(async ({ client }) => {
      await applyObjects(client, [{ apiVersion: 'v1', kind: 'Namespace', metadata: { name: gatewayNamespace } }]);
      await expose({ client, namespace: gatewayNamespace, istioNamespace, generate: false, wait: false, print });
      await waitForProgrammed(client, gatewayNamespace, patience);
    }),
  );
  await link({ clients: clusters.map(({ client }) => client), namespace: gatewayNamespace, istioNamespace, timeout: patience, print });
}

/** Waits until `multicluster check` passes in a cluster, told by its Gateways' changes; resolves with the report. */
export async function waitForCheck({ client, name }: DemoCluster): Promise<ClusterReport> {
  await waitForObjects({ client, type: resources.gateways, what: `${name}: peers to be connected`, timeout: patience }, (gateways) =>
    gateways.some(
      ({ spec, status }) =>
        spec.gatewayClassName === 'istio-remote' &&
        status?.conditions?.some(({ type, status: is }) => type === 'gloo.solo.io/PeeringSucceeded' && is === 'True'),
    ),
  );
  const report = await checkCluster({ client, istioNamespace, peers: true });
  const failed = report.lines.filter(({ findings }) => worstOf(findings) === 'failure');
  if (failed.length > 0)
    throw new IsthmusError('DEMO_UNTRUE', `${name}: ${failed.map(({ check, message }) => `${check}: ${message}`).join('; ')}`);
  return report;
}

/** The guide's samples, unchanged but for the version that its sed puts in; resolves when all pods are ready. */
export async function deploySamples({ client, name, version }: DemoCluster): Promise<void> {
  const namespace: KubeObject = {
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name: demoNamespace, labels: { [labels.dataplaneMode]: 'ambient' } },
  };
  await applyObjects(client, [namespace]);
  for (const file of ['sleep-client.yaml', 'global-service.yaml', 'local-service.yaml']) {
    await applyObjects(client, await readSample(file, version), { namespace: demoNamespace });
  }
  await waitForObjects(
    { client, type: resources.deployments, namespace: demoNamespace, what: `${name}: the sample apps to be ready`, timeout: patience },
    (found) => found.length >= 3 && found.every(isDeploymentReady),
  );
}

async function readSample(file: string, version: string): Promise<KubeObject[]> {
  const text = (await readFile(path.join(samples, file), 'utf8')).replaceAll('VERSION_PLACEHOLDER', version);
  return parseAllDocuments(text).flatMap((document): KubeObject[] => {
    const value: unknown = document.toJS();
    return value === null ? [] : [value as KubeObject];
  });
}

/** Waits until a cluster has the ServiceEntry and, for each other cluster, the gateway's and the pods' WorkloadEntries. */
export async function waitForEntries(
  { client, name, entryNamespace }: DemoCluster,
  others: readonly DemoCluster[],
  podsPerCluster: number,
): Promise<void> {
  const base = { client, namespace: entryNamespace, timeout: patience };
  await waitForObjects({ ...base, type: resources.serviceEntries, what: `${name}: the ServiceEntry of ${globalService}` }, (found) =>
    found.some(({ metadata }) => metadata.name === `autogen.${demoNamespace}.${globalService}`),
  );
  await waitForObjects({ ...base, type: resources.workloadEntries, what: `${name}: the WorkloadEntries of ${globalService}` }, (found) =>
    others.every((other) => {
      const gateway = `autogen.${other.name}.${demoNamespace}.${globalService}`;
      const flat = found.filter(({ metadata }) => metadata.name.startsWith(`autogenflat.${other.name}.${demoNamespace}.${globalService}-`));
      return found.some(({ metadata }) => metadata.name === gateway) && flat.length === podsPerCluster;
    }),
  );
}

/** The sleep pod of a cluster. */
export async function clientPod({ client, name }: DemoCluster): Promise<Pod> {
  const { items } = await client.list(resources.pods, { namespace: demoNamespace, labelSelector: 'app=sleep' });
  const pod = items.find(({ metadata }) => metadata.deletionTimestamp === undefined);
  if (pod === undefined) throw new IsthmusError('DEMO_UNTRUE', `${name}: no pod of the app sleep`);
  return pod;
}

/** Sends the guide's loop of requests from the sleep pod and counts the answers by version. */
export async function countVersions(cluster: DemoCluster, requests: number): Promise<ReadonlyMap<string, number>> {
  const pod = await clientPod(cluster);
  const script = `for i in $(seq 1 ${String(requests)}); do curl -s ${globalUrl}; echo; done`;
  const { stdout } = await execInPod(cluster.client, pod.metadata, ['sh', '-c', script]);
  const counts = new Map<string, number>();
  for (const [, version = ''] of stdout.matchAll(/version: (v[0-9])/g)) counts.set(version, (counts.get(version) ?? 0) + 1);
  return counts;
}

/**
 * Waits until the sleep pod has had an answer from every cluster's instances: what istiod has pushed is not yet what
 * ztunnel has applied, and only a request tells.
 */
export async function waitForAnswers(from: DemoCluster, clusters: readonly DemoCluster[]): Promise<void> {
  const missing = new Set(clusters.map(({ version }) => version));
  await withTimeout(`${from.name}: answers from ${[...missing].join(' and ')}`, patience, async (signal) => {
    while (missing.size > 0) {
      const counts = await countVersions(from, 4).catch((error: unknown) => {
        if (signal.aborted) throw error;
        return new Map<string, number>([[describeError(error), 0]]);
      });
      for (const version of counts.keys()) missing.delete(version);
      if (missing.size > 0) await sleep(100, signal);
    }
  });
}

/** The newest access-log line of a request that went from a cluster's sleep pod straight to a pod of another cluster. */
export async function crossClusterLogLine(from: DemoCluster, to: DemoCluster): Promise<string> {
  const source = (await clientPod(from)).status?.podIP ?? '';
  const { items } = await to.client.list(resources.pods, { namespace: demoNamespace, labelSelector: `app=${globalService}` });
  const addresses = items.flatMap(({ status }) => (status?.podIP === undefined ? [] : [status.podIP]));
  const { items: proxies } = await from.client.list(resources.pods, { namespace: istioNamespace, labelSelector: 'app=ztunnel' });
  const [proxy] = proxies;
  if (proxy === undefined) throw new IsthmusError('DEMO_UNTRUE', `${from.name}: no ztunnel pod`);
  const log = await from.client.logs(proxy.metadata);
  const isWanted = (line: string): boolean =>
    line.includes('direction="outbound"') &&
    line.includes(`src.addr=${source}:`) &&
    addresses.some((address) => line.includes(`dst.addr=${address}:15008 `));
  const line = log.split('\n').findLast(isWanted);
  if (line === undefined)
    throw new IsthmusError(
      'DEMO_UNTRUE',
      `${from.name}: no access-log line of a request from ${source} to ${addresses.join(' or ')} in ${proxy.metadata.name}`,
    );
  return line;
}
