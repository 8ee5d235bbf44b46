import { resources } from '../api/resources.ts';
import type { Logger } from '../core/index.ts';
import { Informer, keyOf, logFailure, WorkQueue, type KubeClient } from '../kube/index.ts';
import type { Cluster } from './cluster.ts';

const name = 'istio-ca-root-cert';
/** Namespaces in which nothing of the mesh runs. */
const without: ReadonlySet<string> = new Set(['kube-public', 'kube-node-lease', 'local-path-storage']);

/**
 * Keeps the ConfigMap istio-ca-root-cert, with which workloads verify istiod and each other, in every namespace.
 * `changed` resolves a wait: the roots are others now.
 */
export async function distributeRoots(
  options: {
    readonly client: KubeClient;
    readonly namespaces: Cluster['informers']['namespaces'];
    readonly roots: () => string;
    readonly onRootsChanged: (handler: () => void) => () => void;
    readonly log: Logger;
  },
  signal: AbortSignal,
): Promise<void> {
  const { client, namespaces, roots, log } = options;
  const existing = new Informer({ client, type: resources.configMaps, fieldSelector: `metadata.name=${name}`, log });
  const queue = new WorkQueue({
    concurrency: 1,
    onFailure: logFailure(log, 'root-certificates'),
    work: async (namespace, stop) => {
      const there = namespaces.get(namespace);
      if (there === undefined || there.metadata.deletionTimestamp !== undefined || without.has(namespace)) return;
      const wanted = { 'root-cert.pem': roots() };
      if (existing.get(`${namespace}/${name}`)?.data?.['root-cert.pem'] === wanted['root-cert.pem']) return;
      await client.apply(
        resources.configMaps,
        { metadata: { name, namespace, labels: { 'istio.io/config': 'true' } }, data: wanted },
        { fieldManager: 'istio-namespace-controller', signal: stop },
      );
    },
  });
  const enqueueAll = (): void => {
    for (const namespace of namespaces.list()) queue.add(keyOf(namespace));
  };
  const running = existing.run(signal);
  await Promise.race([existing.synced, running]);
  const stops = [
    existing.onChange((changes) => changes.forEach(({ key }) => queue.add(key.split('/')[0] ?? ''))),
    namespaces.onChange((changes) => changes.forEach(({ key }) => queue.add(key))),
    options.onRootsChanged(enqueueAll),
  ];
  try {
    await queue.run(signal);
  } finally {
    for (const stop of stops) stop();
    await running;
  }
}
