import type { Service, Workload } from '../api/gen/istio/workload_pb.js';
import { addressText } from './addresses.ts';

/** Other names by which a proxy may ask for a workload or a service: `<network>/<ip>`, or `<network>/<ip>/<bits>` for a range. */
export function addressAliases(resource: Workload | Service): string[] {
  if (resource.$typeName === 'istio.workload.Workload') {
    return resource.addresses.map((address) => `${resource.network}/${addressText(address)}`);
  }
  return resource.addresses.map(({ network, address, length }) => {
    const name = `${network}/${addressText(address)}`;
    return length === undefined ? name : `${name}/${length}`;
  });
}
