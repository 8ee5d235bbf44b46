import { resources, type ResourceType } from '../../api/resources.ts';
import { IsthmusError, withTimeout } from '../../core/index.ts';
import { Informer, type KubeClient } from '../../kube/index.ts';
import { componentPodSelectors, readClusterFacts, type ClusterFacts } from './cluster-facts.ts';
import { checkCni, checkComponentPods, checkEnvironment, checkLicense, checkVersions } from './component-checks.ts';
import { checkEntries, checkServices } from './entry-checks.ts';
import { worstOf, type CheckLine, type Severity } from './findings.ts';
import type { IstiodChoice } from './find-istio.ts';
import { checkCertificates, checkGateways, checkNetwork, checkPeers, type Neighbours } from './link-checks.ts';

/** What was found in one cluster. */
export interface ClusterReport {
  /** Of the kubeconfig. */
  readonly context: string;
  readonly clusterId: string;
  /** True for our own istiod, beside which only the guide's lines are shown. */
  readonly isIsthmus: boolean;
  readonly lines: readonly CheckLine[];
}

export interface CheckOptions extends IstiodChoice {
  /** Several are compared with each other as well. */
  readonly clients: readonly KubeClient[];
  /** False before linking: leaves out the links and what came over them. */
  readonly peers: boolean;
}

/**
 * Checks clusters by what their API servers say now. Throws MESH_NOT_INSTALLED, MESH_AMBIGUOUS, KUBE_API, KUBE_UNREACHABLE.
 */
export async function checkClusters({ clients, peers, ...choice }: CheckOptions): Promise<readonly ClusterReport[]> {
  const clusters = await Promise.all(clients.map((client) => readClusterFacts(client, choice)));
  return clusters.map((facts, at): ClusterReport => {
    const neighbours = { all: clusters.filter((other) => other !== facts), earlier: clusters.slice(0, at) };
    const { mesh, context } = facts;
    return { context, clusterId: mesh.clusterId, isIsthmus: mesh.istiod.isIsthmus, lines: linesOf(facts, neighbours, peers) };
  });
}

/** {@link checkClusters} for one cluster: its report's lines. */
export async function checkCluster({
  client,
  ...options
}: { readonly client: KubeClient } & Omit<CheckOptions, 'clients'>): Promise<ClusterReport> {
  const [report] = await checkClusters({ ...options, clients: [client] });
  if (report === undefined) throw new IsthmusError('ISTHMUS_INTERNAL', 'a check without a report');
  return report;
}

/** In the guide's order; the lines that it does not have stand where newer releases have them. */
function linesOf(facts: ClusterFacts, neighbours: Neighbours, peers: boolean): readonly CheckLine[] {
  return [
    checkEnvironment(facts),
    checkLicense(),
    checkVersions(facts),
    checkCni(facts),
    ...checkComponentPods(facts),
    checkGateways(facts),
    ...(peers ? [checkPeers(facts, neighbours)] : []),
    checkCertificates(facts, neighbours),
    checkNetwork(facts, neighbours),
    ...(peers ? [checkServices(facts), checkEntries(facts)] : []),
  ];
}

/** The worst of what was found. */
export function severityOf(reports: readonly ClusterReport[]): Severity | 'ok' {
  return worstOf(reports.flatMap(({ lines }) => lines.flatMap(({ findings }) => findings)));
}

/**
 * Checks again after every change of what decides (Gateways, components and their pods, namespaces, entries), until nothing is found that weighs `failOn` or more, or the
 * time is over; resolves with the last reports either way.
 */
export async function waitForClusters(
  options: CheckOptions & { readonly timeout: number; readonly failOn: Severity },
): Promise<readonly ClusterReport[]> {
  const { clients, timeout, failOn } = options;
  let reports: readonly ClusterReport[] = [];
  let last: IsthmusError | undefined;
  const done = new AbortController();
  try {
    await withTimeout('the clusters to pass the check', timeout, async (signal) => {
      const changes = new Changes(clients, AbortSignal.any([signal, done.signal]));
      for (;;) {
        try {
          reports = await checkClusters(options);
          last = undefined;
          const severity = severityOf(reports);
          if (severity === 'ok' || (severity === 'warning' && failOn === 'failure')) return;
        } catch (error) {
          // What is not installed yet may be soon.
          if (!(error instanceof IsthmusError) || error.code !== 'MESH_NOT_INSTALLED') throw error;
          last = error;
        }
        await changes.next(signal);
      }
    });
  } catch (error) {
    if (!(error instanceof IsthmusError) || error.code !== 'ISTHMUS_TIMEOUT') throw error;
    if (last !== undefined) throw last;
  } finally {
    done.abort();
  }
  return reports;
}

/** Tells of changes of what decides over a check, in any of some clusters. */
class Changes {
  #pending = Promise.withResolvers<undefined>();

  constructor(clients: readonly KubeClient[], signal: AbortSignal) {
    const whole = [
      resources.gateways,
      resources.deployments,
      resources.daemonSets,
      resources.namespaces,
      resources.workloadEntries,
    ] as const;
    const watched: readonly { readonly type: ResourceType; readonly labelSelector?: string }[] = [
      ...whole.map((type) => ({ type })),
      ...componentPodSelectors.map((labelSelector) => ({ type: resources.pods, labelSelector })),
    ];
    for (const client of clients) {
      for (const one of watched) {
        const informer = new Informer({ client, ...one });
        informer.onChange(() => this.#pending.resolve(undefined));
        void informer.run(signal);
      }
    }
  }

  /** Resolves at the first change since the last call; several at one time count once. */
  async next(signal: AbortSignal): Promise<void> {
    const aborted = Promise.withResolvers<never>();
    const abort = (): void => aborted.reject(signal.reason as Error);
    signal.addEventListener('abort', abort, { once: true });
    try {
      await Promise.race([this.#pending.promise, aborted.promise]);
    } finally {
      signal.removeEventListener('abort', abort);
    }
    this.#pending = Promise.withResolvers<undefined>();
  }
}
