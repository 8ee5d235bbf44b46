import type { Gateway, Pod } from '../../api/kubernetes.ts';
import { conditionTypes, gatewayClasses, labels } from '../../api/names.ts';
import { resources } from '../../api/resources.ts';
import type { KubeClient } from '../../kube/index.ts';
import { isProgrammed } from './expose.ts';

/** One line of the report. The texts are the guide's: scripts read them. */
export interface Finding {
  /** `License Check`, `Pod Check (istiod)`, … */
  readonly check: string;
  readonly passed: boolean;
  readonly message: string;
  readonly details: readonly string[];
}

export interface CheckOptions {
  readonly client: KubeClient;
  readonly istioNamespace: string;
  /** False before linking. */
  readonly peers: boolean;
}

/** Checks one cluster by what its API server says now. */
export async function checkCluster({ client, istioNamespace, peers }: CheckOptions): Promise<readonly Finding[]> {
  const { items: pods } = await client.list(resources.pods);
  const { items: gateways } = await client.list(resources.gateways);
  const inMesh = pods.filter((pod) => pod.metadata.namespace === istioNamespace);
  const eastWest = gateways.filter((gateway) => gateway.spec.gatewayClassName === gatewayClasses.eastWest);
  const remote = gateways.filter((gateway) => gateway.spec.gatewayClassName === gatewayClasses.remote);
  const gatewayPods = pods.filter((pod) =>
    eastWest.some(
      ({ metadata }) => metadata.namespace === pod.metadata.namespace && metadata.name === pod.metadata.labels?.[labels.gatewayName],
    ),
  );
  const nodes = (await client.list(resources.nodes)).items.length;
  return [
    { check: 'License Check', passed: true, message: 'license is valid for multicluster (none is needed)', details: [] },
    checkPods('istiod', inMesh.filter(hasLabel('app', 'istiod')), 1, `no istiod deployment found in namespace "${istioNamespace}"`),
    checkPods('ztunnel', inMesh.filter(hasLabel('app', 'ztunnel')), nodes, `no ztunnel daemonset found in namespace "${istioNamespace}"`),
    checkPods('eastwest gateway', gatewayPods, eastWest.length, 'no eastwest gateway pods found'),
    checkGateways(eastWest),
    ...(peers ? [checkPeers(remote)] : []),
  ];
}

/** Prints the report as the guide does; true when every check passed. */
export function printReport(findings: readonly Finding[], verbose: boolean): boolean {
  for (const { check, passed, message, details } of findings) {
    if (verbose) process.stdout.write(`\n--- ${check} ---\n`);
    if (verbose || !passed) for (const detail of details) process.stdout.write(`   ${detail}\n`);
    process.stdout.write(`${passed ? '✅' : '❌'} ${check}: ${message}\n`);
  }
  return findings.every(({ passed }) => passed);
}

function hasLabel(name: string, value: string): (pod: Pod) => boolean {
  return (pod) => pod.metadata.labels?.[name] === value;
}

function checkPods(what: string, pods: readonly Pod[], atLeast: number, none: string): Finding {
  const check = `Pod Check (${what})`;
  const details = pods.map(
    (pod) =>
      `${pod.metadata.namespace ?? ''}/${pod.metadata.name}: ${pod.status?.phase ?? 'Unknown'}${isReady(pod) ? ', ready' : ', not ready'}`,
  );
  if (pods.length === 0) return { check, passed: false, message: none, details };
  const healthy = pods.filter((pod) => pod.metadata.deletionTimestamp === undefined && isReady(pod)).length;
  if (healthy === pods.length && healthy >= atLeast) return { check, passed: true, message: 'all pods healthy', details };
  return { check, passed: false, message: `${String(healthy)} of ${String(Math.max(atLeast, pods.length))} pods healthy`, details };
}

function isReady(pod: Pod): boolean {
  return (
    pod.status?.phase === 'Running' && (pod.status.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false)
  );
}

function checkGateways(gateways: readonly Gateway[]): Finding {
  const check = 'Gateway Check';
  const details = gateways.map(
    (gateway) =>
      `${nameOf(gateway)}: Programmed ${isProgrammed(gateway) ? 'True' : 'False'}, ${gateway.status?.addresses?.map(({ value }) => value).join(', ') ?? 'no address'}`,
  );
  if (gateways.length === 0) return { check, passed: false, message: 'no configured eastwest gateways', details };
  if (gateways.every(isProgrammed)) return { check, passed: true, message: 'all eastwest gateways programmed', details };
  return { check, passed: false, message: 'found eastwest gateway(s) that are not programmed', details };
}

function checkPeers(gateways: readonly Gateway[]): Finding {
  const check = 'Peers Check';
  const wanted = [conditionTypes.peerConnected, conditionTypes.peeringSucceeded];
  const stateOf = (gateway: Gateway, type: string) => gateway.status?.conditions?.find((condition) => condition.type === type);
  const isConnected = (gateway: Gateway): boolean => wanted.every((type) => stateOf(gateway, type)?.status === 'True');
  const details = gateways.flatMap((gateway) => {
    const cluster = gateway.metadata.labels?.[labels.cluster] ?? gateway.metadata.name;
    const conditions = wanted.map((type) => {
      const state = stateOf(gateway, type);
      return `${type}: ${state?.status ?? 'Unknown'}${state === undefined || state.status === 'True' ? '' : ` (${state.reason}: ${state.message})`}`;
    });
    return [`Cluster: ${cluster}`, ...conditions, ...(isConnected(gateway) ? [`Connected to ${cluster}`] : [])];
  });
  if (gateways.length === 0) return { check, passed: false, message: 'no configured peers', details };
  if (gateways.every(isConnected)) return { check, passed: true, message: 'all clusters connected', details };
  return { check, passed: false, message: 'found disconnected cluster(s)', details };
}

function nameOf(gateway: Gateway): string {
  return `${gateway.metadata.namespace ?? ''}/${gateway.metadata.name}`;
}
