import type { MeshState } from '../state/mesh-state.ts';
import type { Service, Workload } from '../state/model.ts';

/** What the DNS proxy of a pod needs to know of the mesh. */
export interface ServiceResolver {
  /** The pod that asks. Waits until the control plane has told of it; rejects when that takes too long. */
  client(): Promise<Pick<Workload, 'name' | 'namespace' | 'network'>>;
  /** All services of a hostname, whatever their namespace and visibility, in the order they arrived. */
  services(hostname: string): readonly Service[];
  /** The addresses of each endpoint of a service that its health policy lets in. */
  endpointAddresses(service: Service): Iterable<readonly string[]>;
}

/** The mesh as this proxy knows it, from the point of view of one pod. */
export function meshResolver(state: MeshState, client: ServiceResolver['client']): ServiceResolver {
  return {
    client,
    services: (hostname) => state.services.byHostname(hostname),
    *endpointAddresses(service) {
      for (const { workload } of state.endpoints(service)) yield workload.addresses;
    },
  };
}
