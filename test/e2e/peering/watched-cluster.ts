import type {
  EndpointSlice,
  Gateway,
  KubeObject,
  Namespace,
  Node,
  Pod,
  Service,
  ServiceEntry,
  WorkloadEntry,
} from '../../../src/api/kubernetes.ts';
import { resources, type ResourceType } from '../../../src/api/resources.ts';
import { withTimeout } from '../../../src/core/index.ts';
import { Informer, type KubeClient } from '../../../src/kube/index.ts';

/** What an API server says, as far as peering is concerned. */
export interface ClusterState {
  readonly namespaces: readonly Namespace[];
  readonly nodes: readonly Node[];
  readonly pods: readonly Pod[];
  readonly services: readonly Service[];
  readonly endpointSlices: readonly EndpointSlice[];
  readonly gateways: readonly Gateway[];
  readonly serviceEntries: readonly ServiceEntry[];
  readonly workloadEntries: readonly WorkloadEntry[];
}

/** Tells whoever waits that something has changed. */
export class Changes {
  readonly #handlers = new Set<() => void>();

  readonly announce = (): void => {
    for (const handler of this.#handlers) handler();
  };

  /** Handlers are called at each change; returns the way to stop it. */
  on(handler: () => void): () => void {
    this.#handlers.add(handler);
    return () => this.#handlers.delete(handler);
  }

  /** Resolves with what `ask` returns as soon as that is not undefined; `detail` says in the error what was missing. */
  async until<T>(what: string, ask: () => T | undefined, detail: () => string = () => ''): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const look = (): void => {
      try {
        const found = ask();
        if (found !== undefined) resolve(found);
      } catch (error) {
        reject(error);
      }
    };
    const stop = this.on(look);
    look();
    try {
      return await withTimeout(what, 45_000, () => promise);
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${detail()}`, { cause: error });
    } finally {
      stop();
    }
  }
}

/** One cluster and what its API server says from moment to moment. */
export class WatchedCluster {
  readonly name: string;
  readonly client: KubeClient;
  readonly #changes: Changes;
  readonly #informers;

  constructor(name: string, client: KubeClient, changes: Changes) {
    this.name = name;
    this.client = client;
    this.#changes = changes;
    const informer = <T extends KubeObject>(type: ResourceType<T>): Informer<T> => new Informer({ client, type });
    this.#informers = {
      namespaces: informer(resources.namespaces),
      nodes: informer(resources.nodes),
      pods: informer(resources.pods),
      services: informer(resources.services),
      endpointSlices: informer(resources.endpointSlices),
      gateways: informer(resources.gateways),
      serviceEntries: informer(resources.serviceEntries),
      workloadEntries: informer(resources.workloadEntries),
    };
  }

  /** Follows the API server until the signal is aborted; resolves when it knows what there is. */
  async watch(signal: AbortSignal): Promise<void> {
    const all = Object.values(this.#informers);
    for (const informer of all) {
      informer.onChange(this.#changes.announce);
      void informer.run(signal);
    }
    await Promise.all(all.map(({ synced }) => synced));
  }

  /** As far as the watches have told. */
  state(): ClusterState {
    const { namespaces, nodes, pods, services, endpointSlices, gateways, serviceEntries, workloadEntries } = this.#informers;
    return {
      namespaces: [...namespaces.list()],
      nodes: [...nodes.list()],
      pods: [...pods.list()],
      services: [...services.list()],
      endpointSlices: [...endpointSlices.list()],
      gateways: [...gateways.list()],
      serviceEntries: [...serviceEntries.list()],
      workloadEntries: [...workloadEntries.list()],
    };
  }

  /** Asked anew. */
  async read(): Promise<ClusterState> {
    const list = async <T extends KubeObject>(type: ResourceType<T>): Promise<readonly T[]> => (await this.client.list(type)).items;
    const [namespaces, nodes, pods, services, endpointSlices, gateways, serviceEntries, workloadEntries] = await Promise.all([
      list(resources.namespaces),
      list(resources.nodes),
      list(resources.pods),
      list(resources.services),
      list(resources.endpointSlices),
      list(resources.gateways),
      list(resources.serviceEntries),
      list(resources.workloadEntries),
    ]);
    return { namespaces, nodes, pods, services, endpointSlices, gateways, serviceEntries, workloadEntries };
  }
}
