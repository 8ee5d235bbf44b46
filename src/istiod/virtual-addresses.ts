import type { ServiceEntry } from '../api/kubernetes.ts';
import { resources } from '../api/resources.ts';
import { IsthmusError, type Logger } from '../core/index.ts';
import { isNotFound, logFailure, WorkQueue, type EventRecorder, type KubeClient } from '../kube/index.ts';
import { VipAllocator, type VipAllocatorOptions } from '../mesh/index.ts';
import type { Cluster } from './cluster.ts';

/**
 * Gives hosts of ServiceEntries their virtual addresses, in status.addresses. Written as a JSON patch that first tests
 * the version it replaces: two writers never overwrite each other's. One leader at a time runs this.
 */
export async function allocateVirtualAddresses(
  options: {
    readonly client: KubeClient;
    readonly serviceEntries: Cluster['informers']['serviceEntries'];
    readonly prefixes: VipAllocatorOptions;
    readonly events: EventRecorder;
    readonly log: Logger;
  },
  signal: AbortSignal,
): Promise<void> {
  const { client, serviceEntries, events, log } = options;
  const allocator = new VipAllocator(options.prefixes);
  const allocate = async (key: string, entry: ServiceEntry): Promise<ReturnType<VipAllocator['wanted']>> => {
    try {
      return allocator.wanted(key, entry);
    } catch (error) {
      if (error instanceof IsthmusError) await events.record({ about: entry, type: 'Warning', reason: error.code, message: error.message });
      throw error;
    }
  };
  const queue = new WorkQueue({
    concurrency: 1,
    onFailure: logFailure(log, 'virtual-addresses'),
    work: async (key, stop) => {
      const entry = serviceEntries.get(key);
      if (entry === undefined || entry.metadata.deletionTimestamp !== undefined) return;
      const wanted = await allocate(key, entry);
      if (wanted === undefined) return;
      const path = entry.status === undefined ? '/status' : '/status/addresses';
      const body = [
        // A field that is not there cannot be tested; the version of the whole object can.
        { op: 'test', path: '/metadata/resourceVersion', value: entry.metadata.resourceVersion },
        { op: 'add', path, value: entry.status === undefined ? { addresses: wanted } : wanted },
      ];
      const patch = { type: 'json' as const, body };
      try {
        await client.patch(resources.serviceEntries, { name: entry.metadata.name, namespace: entry.metadata.namespace }, patch, {
          subresource: 'status',
          fieldManager: 'istio-ip-autoallocate',
          signal: stop,
        });
        log.info({ serviceEntry: key, addresses: wanted.map(({ value }) => value) }, 'virtual addresses allocated');
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
    },
  });
  const stop = serviceEntries.onChange((changes) => {
    // First take note of all, then allocate: what one entry has is not given to another.
    const rivals = changes.flatMap(({ key, object }) =>
      object === undefined ? (allocator.forget(key), []) : allocator.observe(key, object),
    );
    for (const { key } of changes) queue.add(key);
    for (const rival of rivals) queue.add(rival);
  });
  try {
    await queue.run(signal);
  } finally {
    stop();
  }
}
