import type { ConfigMap, Secret } from '../../api/kubernetes.ts';
import { resources } from '../../api/resources.ts';
import type { Logger } from '../../core/index.ts';
import { Informer, type KubeClient } from '../../kube/index.ts';

export type ReferencedKind = 'configMap' | 'secret';

interface Watch {
  readonly informer: Informer<ConfigMap> | Informer<Secret>;
  readonly stop: AbortController;
  readonly users: Set<string>;
}

/**
 * The ConfigMaps and Secrets that pods of this node refer to, each watched by its name while a pod needs it: a node may not
 * read others.
 */
export class ReferencedObjects {
  readonly #client: KubeClient;
  readonly #log: Logger;
  readonly #watches = new Map<string, Watch>();
  readonly #listeners = new Map<string, () => void>();

  constructor(client: KubeClient, log: Logger) {
    this.#client = client;
    this.#log = log;
  }

  /** Calls `changed` whenever an object that this pod uses changes. */
  listen(podUid: string, changed: () => void): void {
    this.#listeners.set(podUid, changed);
  }

  /** The data of an object, by key; undefined when there is no such object. Waits until it is known. `user` keeps it watched. */
  async data(kind: ReferencedKind, namespace: string, name: string, user?: string): Promise<Readonly<Record<string, Buffer>> | undefined> {
    if (name === '') return undefined;
    const watch = this.#watch(kind, namespace, name);
    if (user !== undefined) watch.users.add(user);
    await watch.informer.synced;
    const object = watch.informer.get(`${namespace}/${name}`);
    if (object === undefined) return undefined;
    const entries = Object.entries(object.data ?? {}).map(([key, value]) => [
      key,
      Buffer.from(value, kind === 'secret' ? 'base64' : 'utf8'),
    ]);
    const binary = kind === 'configMap' ? Object.entries((object as ConfigMap).binaryData ?? {}) : [];
    return Object.fromEntries([...entries, ...binary.map(([key, value]) => [key, Buffer.from(value, 'base64')])]) as Record<string, Buffer>;
  }

  /** The pod is gone: what only it needed is watched no more. */
  release(podUid: string): void {
    this.#listeners.delete(podUid);
    for (const [key, watch] of this.#watches) {
      if (watch.users.delete(podUid) && watch.users.size === 0) {
        watch.stop.abort();
        this.#watches.delete(key);
      }
    }
  }

  #watch(kind: ReferencedKind, namespace: string, name: string): Watch {
    const key = `${kind}/${namespace}/${name}`;
    const known = this.#watches.get(key);
    if (known !== undefined) return known;
    const options = { client: this.#client, namespace, fieldSelector: `metadata.name=${name}`, log: this.#log };
    const informer =
      kind === 'secret' ? new Informer({ ...options, type: resources.secrets }) : new Informer({ ...options, type: resources.configMaps });
    const watch: Watch = { informer, stop: new AbortController(), users: new Set() };
    this.#watches.set(key, watch);
    informer.onChange(() => {
      for (const user of watch.users) this.#listeners.get(user)?.();
    });
    void informer.run(watch.stop.signal);
    return watch;
  }
}
