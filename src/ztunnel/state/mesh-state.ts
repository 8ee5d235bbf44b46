import { PolicyIndex } from './policy-index.ts';
import { ServiceIndex } from './service-index.ts';
import { WorkloadIndex } from './workload-index.ts';
import {
  serviceKey,
  type Endpoint,
  type GatewayAddress,
  type Service,
  type ServiceKey,
  type Workload,
  type WorkloadInfo,
  type WorkloadUid,
} from './model.ts';
import type { Policy } from './policy.ts';

/** A change of the mesh, decoded: resources first, then removals, as one delta response gives them. */
export interface AddressChange {
  readonly workloads?: readonly Workload[];
  readonly services?: readonly Service[];
  /** Resource names: a workload's uid or a service's `namespace/hostname`. */
  readonly removed?: readonly string[];
}

export interface PolicyChange {
  readonly policies?: readonly Policy[];
  readonly removed?: readonly string[];
}

export interface MeshStateOptions {
  /** Only workloads of this node are looked at when a local pod is sought; undefined: all. */
  readonly localNode?: string | undefined;
  /** Preferred when several clusters have a pod of the same name on a node of the same name. */
  readonly localCluster?: string | undefined;
}

/**
 * What this proxy knows of the mesh, with the indices its decisions need. No I/O: it is changed by whole batches and read
 * synchronously, so a reader never sees half a change.
 *
 * Endpoints are kept apart from services, by service key. An endpoint may therefore arrive before its service, and a
 * service that is removed and comes back finds its endpoints again (upstream forgets them).
 */
export class MeshState {
  readonly workloads: WorkloadIndex;
  readonly services = new ServiceIndex();
  readonly policies = new PolicyIndex();
  readonly #endpoints = new Map<ServiceKey, Map<WorkloadUid, Endpoint>>();
  readonly #addressListeners = new Set<() => void>();
  readonly #policyListeners = new Set<() => void>();

  constructor(options: MeshStateOptions = {}) {
    this.workloads = new WorkloadIndex(options);
  }

  /** Applies one batch and tells the listeners once. */
  applyAddresses(change: AddressChange): void {
    for (const service of change.services ?? []) this.services.set(service);
    for (const workload of change.workloads ?? []) this.#setWorkload(workload);
    for (const name of change.removed ?? []) this.#remove(name);
    for (const listener of this.#addressListeners) listener();
  }

  applyPolicies(change: PolicyChange): void {
    for (const policy of change.policies ?? []) this.policies.set(policy);
    for (const key of change.removed ?? []) this.policies.delete(key);
    for (const listener of this.#policyListeners) listener();
  }

  /** Calls `listener` after each batch of addresses; returns how to stop. */
  onAddressChange(listener: () => void): () => void {
    this.#addressListeners.add(listener);
    return () => this.#addressListeners.delete(listener);
  }

  /** Calls `listener` after each batch of policies; returns how to stop. */
  onPolicyChange(listener: () => void): () => void {
    this.#policyListeners.add(listener);
    return () => this.#policyListeners.delete(listener);
  }

  /** What an address means: a workload's own address wins over a service's virtual one (upstream's `find_address`). */
  findAddress(network: string, address: string, clientNamespace: string): Workload | Service | undefined {
    return this.workloads.byAddress(network, address) ?? this.services.byVip(network, address, clientNamespace);
  }

  /** A service by hostname, or else a workload that bears it. */
  findHostname(namespace: string, hostname: string): Workload | Service | undefined {
    return this.services.get(serviceKey(namespace, hostname)) ?? this.workloads.byHostname(namespace, hostname);
  }

  findGateway(gateway: GatewayAddress, clientNamespace: string): Workload | Service | undefined {
    return gateway.kind === 'hostname'
      ? this.findHostname(gateway.namespace, gateway.hostname)
      : // A service's address comes first here: a waypoint is normally a service, and its pods may share the address.
        (this.services.byVip(gateway.network, gateway.address, clientNamespace) ??
          this.workloads.byAddress(gateway.network, gateway.address));
  }

  /** The endpoints of a service that its health policy lets in, each with its workload. */
  *endpoints(service: Service): Generator<{ readonly endpoint: Endpoint; readonly workload: Workload }> {
    const allowAll = service.loadBalancer?.healthPolicy === 'AllowAll';
    for (const endpoint of this.#endpoints.get(serviceKey(service.namespace, service.hostname))?.values() ?? []) {
      if (!allowAll && endpoint.status === 'Unhealthy') continue;
      const workload = this.workloads.get(endpoint.workloadUid);
      if (workload !== undefined) yield { endpoint, workload };
    }
  }

  /** Whether this workload is an endpoint of the service, whatever its health. */
  isEndpoint(service: Service, uid: WorkloadUid): boolean {
    return this.#endpoints.get(serviceKey(service.namespace, service.hostname))?.has(uid) ?? false;
  }

  /** Endpoints whose service is not known (yet), for the dump of the state. */
  *stagedEndpoints(): Generator<[ServiceKey, ReadonlyMap<WorkloadUid, Endpoint>]> {
    for (const [key, endpoints] of this.#endpoints) if (this.services.get(key) === undefined) yield [key, endpoints];
  }

  /** The workload of a pod of this node. Waits until it is known; rejects with the signal's reason when it is aborted. */
  async localWorkload(info: WorkloadInfo, signal: AbortSignal): Promise<Workload> {
    const found = this.workloads.local(info);
    if (found !== undefined) return found;
    signal.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<Workload>();
    const onAbort = (): void => {
      reject(signal.reason as Error);
    };
    const stop = this.onAddressChange(() => {
      const workload = this.workloads.local(info);
      if (workload !== undefined) resolve(workload);
    });
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      return await promise;
    } finally {
      stop();
      signal.removeEventListener('abort', onAbort);
    }
  }

  #setWorkload(workload: Workload): void {
    const old = this.workloads.get(workload.uid);
    if (old !== undefined) this.#removeEndpoints(old);
    this.workloads.set(workload);
    for (const [key, ports] of workload.services) {
      let endpoints = this.#endpoints.get(key);
      if (endpoints === undefined) this.#endpoints.set(key, (endpoints = new Map<WorkloadUid, Endpoint>()));
      endpoints.set(workload.uid, { workloadUid: workload.uid, ports, status: workload.status });
    }
  }

  #remove(name: string): void {
    const workload = this.workloads.get(name);
    if (workload === undefined) {
      this.services.delete(name);
      return;
    }
    this.#removeEndpoints(workload);
    this.workloads.delete(name);
  }

  #removeEndpoints(workload: Workload): void {
    for (const key of workload.services.keys()) {
      const endpoints = this.#endpoints.get(key);
      if (endpoints?.delete(workload.uid) === true && endpoints.size === 0) this.#endpoints.delete(key);
    }
  }
}

/** Tells the two things an address may mean apart. */
export function isService(found: Workload | Service): found is Service {
  return 'vips' in found;
}
