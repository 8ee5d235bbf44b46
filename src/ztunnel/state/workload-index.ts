import { addressKey, type Workload, type WorkloadInfo, type WorkloadUid } from './model.ts';

/** Workloads by uid, by address and by the pod they stand for. */
export class WorkloadIndex {
  readonly #byUid = new Map<WorkloadUid, Workload>();
  readonly #byAddress = new Map<string, Workload[]>();
  readonly #byName = new Map<string, Workload[]>();
  readonly #byHostname = new Map<string, Workload[]>();
  readonly #local = new Set<Workload>();
  readonly #localNode: string | undefined;
  readonly #localCluster: string | undefined;

  constructor(options: { readonly localNode?: string | undefined; readonly localCluster?: string | undefined }) {
    this.#localNode = options.localNode;
    this.#localCluster = options.localCluster;
  }

  get size(): number {
    return this.#byUid.size;
  }

  values(): IterableIterator<Workload> {
    return this.#byUid.values();
  }

  get(uid: WorkloadUid): Workload | undefined {
    return this.#byUid.get(uid);
  }

  /**
   * The workload that owns an address. Where several claim it, a real pod that speaks HBONE ranks highest, and among
   * equals the last one that was told.
   */
  byAddress(network: string, address: string): Workload | undefined {
    let best: Workload | undefined;
    for (const candidate of this.#byAddress.get(addressKey(network, address)) ?? []) {
      if (best === undefined || rank(candidate) >= rank(best)) best = candidate;
    }
    return best;
  }

  byHostname(namespace: string, hostname: string): Workload | undefined {
    return this.#byHostname.get(`${namespace}/${hostname}`)?.at(-1);
  }

  /**
   * The workload of a pod of this node, by name, namespace and service account. With equal names in several clusters on
   * nodes of the same name, the one of the own cluster.
   */
  local(info: WorkloadInfo): Workload | undefined {
    const candidates = (this.#byName.get(`${info.namespace}/${info.name}`) ?? []).filter(
      (workload) => workload.serviceAccount === info.serviceAccount && (this.#localNode === undefined || workload.node === this.#localNode),
    );
    return candidates.find(({ clusterId }) => clusterId === this.#localCluster) ?? candidates.at(-1);
  }

  /** The workloads of this node. */
  locals(): ReadonlySet<Workload> {
    return this.#local;
  }

  /** Whether the workload runs on this node, in this cluster as far as it is known. */
  #isLocal(workload: Workload): boolean {
    return workload.node === this.#localNode && (this.#localCluster === undefined || workload.clusterId === this.#localCluster);
  }

  set(workload: Workload): void {
    this.delete(workload.uid);
    this.#byUid.set(workload.uid, workload);
    if (this.#isLocal(workload)) this.#local.add(workload);
    for (const [index, key] of this.#keys(workload)) {
      const list = index.get(key);
      if (list === undefined) index.set(key, [workload]);
      else list.push(workload);
    }
  }

  delete(uid: WorkloadUid): void {
    const workload = this.#byUid.get(uid);
    if (workload === undefined) return;
    this.#byUid.delete(uid);
    this.#local.delete(workload);
    for (const [index, key] of this.#keys(workload)) {
      const rest = (index.get(key) ?? []).filter((other) => other !== workload);
      if (rest.length === 0) index.delete(key);
      else index.set(key, rest);
    }
  }

  *#keys(workload: Workload): Generator<[Map<string, Workload[]>, string]> {
    yield [this.#byName, `${workload.namespace}/${workload.name}`];
    if (workload.hostname !== '') yield [this.#byHostname, `${workload.namespace}/${workload.hostname}`];
    // Pods of the host's network share the node's address, which stands for none of them.
    if (workload.networkMode === 'HostNetwork') return;
    for (const address of workload.addresses) yield [this.#byAddress, addressKey(workload.network, address)];
  }
}

function rank(workload: Workload): number {
  return (workload.uid.includes('//Pod/') ? 2 : 0) + (workload.protocol === 'HBONE' ? 1 : 0);
}
