import { create, toBinary } from '@bufbuild/protobuf';

import { AuthorizationSchema } from '../api/gen/istio/authorization_pb.js';
import { AddressSchema } from '../api/gen/istio/workload_pb.js';
import { typeUrls } from '../api/names.ts';
import type { Collection, Value } from '../collections/index.ts';
import { addressAliases, type Mesh } from '../mesh/index.ts';
import { ResourceTable, type ResourceInput } from '../xds/index.ts';

/** What proxies are told: the mesh, encoded once a change. */
export interface MeshTables {
  readonly addresses: ResourceTable;
  readonly authorizations: ResourceTable;
}

/** The key under which on-demand clients of a node get its workloads. */
export function nodeKey(node: string): string {
  return `node|${node}`;
}

/** Tables that follow the mesh. */
export function meshTables(mesh: Mesh): MeshTables {
  const addresses = new ResourceTable({ typeUrl: typeUrls.address });
  const authorizations = new ResourceTable({ typeUrl: typeUrls.authorization });
  // Services first: what a workload refers to is there before it.
  follow(addresses, mesh.services, ({ key, service }) => ({
    name: key,
    body: toBinary(AddressSchema, create(AddressSchema, { type: { case: 'service', value: service } })),
    aliases: addressAliases(service),
  }));
  follow(addresses, mesh.workloads, (workload) => ({
    name: workload.uid,
    body: toBinary(AddressSchema, create(AddressSchema, { type: { case: 'workload', value: workload } })),
    aliases: addressAliases(workload),
    partOf: [...Object.keys(workload.services), ...(workload.node === '' ? [] : [nodeKey(workload.node)])],
  }));
  follow(authorizations, mesh.authorizations, (authorization) => ({
    name: `${authorization.namespace}/${authorization.name}`,
    body: toBinary(AuthorizationSchema, authorization),
  }));
  return { addresses, authorizations };
}

/** The names of resources are the keys of their collections. */
function follow<T extends Value>(table: ResourceTable, collection: Collection<T>, encode: (value: T) => ResourceInput): void {
  collection.subscribe((changes) =>
    table.batch(() => {
      for (const { key, after } of changes) {
        if (after === undefined) table.delete(key);
        else table.set(encode(after));
      }
    }),
  );
}
