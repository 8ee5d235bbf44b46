import { toJson } from '@bufbuild/protobuf';

import { AuthorizationSchema } from '../api/gen/istio/authorization_pb.js';
import { ServiceSchema, WorkloadSchema } from '../api/gen/istio/workload_pb.js';
import { addressText, type Mesh } from '../mesh/index.ts';
import type { XdsServer } from '../xds/index.ts';
import type { Caller } from './callers.ts';

/** What istiod tells of itself, by path under /debug/. */
export function debugPages(options: {
  readonly mesh: Mesh;
  readonly xds: XdsServer<Caller>;
  readonly graph: { table(): unknown };
}): Readonly<Record<string, () => unknown>> {
  const { mesh, xds, graph } = options;
  return {
    '/debug/ambientz': () => ({
      workloads: [...mesh.workloads.values()].map((workload) => ({
        ...object(toJson(WorkloadSchema, workload)),
        addresses: workload.addresses.map(addressText),
      })),
      services: [...mesh.services.values()].map(({ service }) => ({
        ...object(toJson(ServiceSchema, service)),
        addresses: service.addresses.map(({ network, address, length }) => ({
          network,
          address: addressText(address),
          ...(length !== undefined && { length }),
        })),
      })),
      policies: [...mesh.authorizations.values()].map((policy) => toJson(AuthorizationSchema, policy)),
    }),
    '/debug/krtz': () => graph.table(),
    '/debug/connections': () =>
      [...xds.connections()].map(({ id, caller, remoteAddress, connectedAt, node, types }) => ({
        id,
        node: node?.id ?? '',
        identity: caller.identity ?? '',
        remoteAddress,
        connectedAt: new Date(connectedAt).toISOString(),
        types: Object.fromEntries(
          [...types].map(([typeUrl, { wildcard, sent, answered, rejected, pushes, rejections }]) => [
            typeUrl,
            { wildcard, sent, answered, rejected, pushes, rejections },
          ]),
        ),
      })),
  };
}

function object(json: unknown): object {
  return typeof json === 'object' && json !== null ? json : {};
}
