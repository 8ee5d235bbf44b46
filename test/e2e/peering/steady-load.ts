import path from 'node:path';
import { createInterface } from 'node:readline';

import type { KubeObject, Pod } from '../../../src/api/kubernetes.ts';
import { istioNamespace } from '../../../src/api/names.ts';
import { resources } from '../../../src/api/resources.ts';
import { applyObjects } from '../../../src/cli/apply.ts';
import { waitForObjects, type KubeClient } from '../../../src/kube/index.ts';
import { repository } from '../lab-fixture.ts';
import type { Attempt, SentRequest } from './verdict.ts';
import type { Changes } from './watched-cluster.ts';

/** What client.ts prints for each request. */
export interface RequestLine {
  readonly start: number;
  readonly end: number;
  readonly localPort: number;
  readonly answer?: { readonly version: string; readonly instance: string; readonly port: number };
  readonly error?: string;
}

/** A program of this folder, as a container of the lab runs it: the lab's images have the checkout at /opt/isthmus. */
export function programCommand(file: string, ...args: readonly string[]): string[] {
  const inCheckout = (host: string): string => path.join('/opt/isthmus', path.relative(repository, host));
  const node = inCheckout(process.execPath);
  return [node, '--max-old-space-size=32', '--max-semi-space-size=1', inCheckout(path.join(import.meta.dirname, file)), ...args];
}

/** The client's own namespace: it outlives those of the services. */
export const loadNamespace = 'load';

const millisecondsBetweenRequests = 50;

/**
 * Requests to one host, all the time, from a pod of one cluster; and what its ztunnel logged of them. The client's clock, the proxy's and the
 * test's are one: the lab is on this machine.
 */
export class SteadyLoad {
  readonly requests: SentRequest[] = [];
  readonly attempts: Attempt[] = [];
  readonly #cluster: string;
  readonly #client: KubeClient;
  readonly #changes: Changes;
  /** Of the pods that answer, by the version that they tell. */
  readonly #clusterOf: ReadonlyMap<string, string>;

  constructor(options: { cluster: string; client: KubeClient; changes: Changes; clusterOf: ReadonlyMap<string, string> }) {
    this.#cluster = options.cluster;
    this.#client = options.client;
    this.#changes = options.changes;
    this.#clusterOf = options.clusterOf;
  }

  /** Starts the client and follows it until the signal is aborted. Resolves once the first request has ended. */
  async start(url: string, signal: AbortSignal): Promise<void> {
    await applyObjects(this.#client, [
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: loadNamespace, labels: { 'istio.io/dataplane-mode': 'ambient' } } },
      // One of its own: a new namespace's default account comes a moment later.
      { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'client', namespace: loadNamespace } },
      clientPod(url),
    ]);
    const [pod] = await waitForObjects(
      { client: this.#client, type: resources.pods, namespace: loadNamespace, what: `${this.#cluster}: the client's pod`, timeout: 30_000 },
      (pods) => pods.some(({ status }) => status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True')),
    );
    const { items: proxies } = await this.#client.list(resources.pods, { namespace: istioNamespace, labelSelector: 'app=ztunnel' });
    const [proxy] = proxies;
    if (pod === undefined || proxy === undefined) throw new Error(`${this.#cluster}: no client or no ztunnel`);
    const host = new URL(url).hostname;
    await Promise.all([
      this.#follow(pod, signal, (line) => this.#onRequest(JSON.parse(line) as RequestLine)),
      this.#follow(proxy, signal, (line) => this.#onLogLine(line, pod.status?.podIP ?? '', host)),
    ]);
    await this.#changes.until(`${this.#cluster}: a first request`, () => (this.requests.length > 0 ? true : undefined));
  }

  async #follow({ metadata }: Pod, signal: AbortSignal, take: (line: string) => void): Promise<void> {
    const log = await this.#client.openLogs(metadata, { follow: true, signal });
    createInterface({ input: log })
      .on('error', (error: Error) => {
        if (!signal.aborted) throw error;
      })
      .on('line', (line) => {
        take(line);
        this.#changes.announce();
      });
  }

  #onRequest({ answer, ...line }: RequestLine): void {
    const answeredBy = answer === undefined ? undefined : `${this.#clusterOf.get(answer.version) ?? answer.version}/${answer.instance}`;
    this.requests.push({ ...line, answeredBy, answeredOn: answer?.port });
  }

  #onLogLine(line: string, address: string, host: string): void {
    const attempt = readAttempt(line, { address, host, cluster: this.#cluster });
    if (attempt !== undefined) this.attempts.push(attempt);
  }
}

/** A line of ztunnel's access log as an attempt; undefined when it is of another connection, or one for which no pod was chosen. */
export function readAttempt(
  line: string,
  of: { readonly address: string; readonly host: string; readonly cluster: string },
): Attempt | undefined {
  const [at = '', , scope, , ...rest] = line.split('\t');
  if (scope !== 'access') return undefined;
  const fields = new Map(
    [...rest.join('\t').matchAll(/([a-z_.]+)=("(?:[^"\\]|\\.)*"|\S+)/g)].map(([, name = '', value = '']) => [name, unquoted(value)]),
  );
  const [, source, port] = /^(.*):(\d+)$/.exec(fields.get('src.addr') ?? '') ?? [];
  const workload = fields.get('dst.workload');
  const isOfClient = source === of.address && fields.get('direction') === 'outbound' && fields.get('dst.service') === of.host;
  if (!isOfClient || workload === undefined) return undefined;
  const duration = Number(/^(\d+)ms$/.exec(fields.get('duration') ?? '')?.[1] ?? Number.NaN);
  const [, cluster = of.cluster, pod = workload] = /^autogenflat\.([^.]+)\.[^.]+\.(.+)\.[0-9a-f]{12}$/.exec(workload) ?? [];
  return { start: Date.parse(at) - duration, localPort: Number(port), pod: `${cluster}/${pod}`, error: fields.get('error') };
}

function unquoted(value: string): string {
  return value.startsWith('"') ? (JSON.parse(value) as string) : value;
}

function clientPod(url: string): KubeObject & { spec: unknown } {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'client', namespace: loadNamespace, labels: { app: 'client' } },
    spec: {
      serviceAccountName: 'client',
      terminationGracePeriodSeconds: 0,
      containers: [
        {
          name: 'client',
          image: 'docker.io/istio/examples-helloworld-v1',
          command: programCommand('client.ts', url, String(millisecondsBetweenRequests)),
        },
      ],
    },
  };
}
