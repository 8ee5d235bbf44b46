import { isDeepStrictEqual } from 'node:util';

import type { KubeObject } from '../api/kubernetes.ts';
import { Graph, source, type Source } from '../collections/index.ts';
import { deriveMesh, type Mesh } from './mesh.ts';
import type { MeshInputs, MeshOptions } from './model.ts';

/** For tests: sources for every input, and the mesh derived from them. A derivation that throws is kept in `failures`. */
export interface TestMesh {
  readonly graph: Graph;
  readonly sources: {
    readonly [K in keyof MeshInputs]: MeshInputs[K] extends { get(key: string): infer T } ? Source<NonNullable<T>> : never;
  };
  readonly mesh: Mesh;
  readonly failures: unknown[];
  /** Adds or replaces objects of any of the kinds, as one batch. */
  apply(...objects: readonly TestObject[]): void;
  remove(object: TestObject): void;
}

/** An object as one would write it in YAML. */
export type TestObject = Omit<KubeObject, 'apiVersion'> & { readonly [field: string]: unknown };

const kinds: Readonly<Record<string, keyof MeshInputs>> = {
  Namespace: 'namespaces',
  Node: 'nodes',
  Pod: 'pods',
  Service: 'services',
  EndpointSlice: 'endpointSlices',
  ServiceEntry: 'serviceEntries',
  WorkloadEntry: 'workloadEntries',
  AuthorizationPolicy: 'authorizationPolicies',
  PeerAuthentication: 'peerAuthentications',
};

export const testOptions: MeshOptions = {
  clusterId: 'cluster-1',
  clusterDomain: 'cluster.local',
  trustDomain: 'cluster.local',
  rootNamespace: 'istio-system',
};

export function testMesh(options: Partial<MeshOptions> = {}): TestMesh {
  const failures: unknown[] = [];
  const graph = new Graph({ onFailure: ({ error }) => failures.push(error) });
  const sources = Object.fromEntries(
    Object.values(kinds).map((name) => [name, source(graph, { name, equals: isDeepStrictEqual })]),
    // A record of all inputs by construction; their types are those of the kinds.
  ) as unknown as TestMesh['sources'];
  const mesh = deriveMesh(graph, sources, { ...testOptions, ...options });
  const place = (object: TestObject): { readonly to: Source<object>; readonly key: string } => {
    const name = kinds[object.kind];
    if (name === undefined) throw new Error(`no input for ${object.kind}`);
    const { namespace, name: own } = object.metadata;
    // The test writes the object as the kind has it.
    return { to: sources[name], key: namespace === undefined ? own : `${namespace}/${own}` };
  };
  return {
    graph,
    sources,
    mesh,
    failures,
    apply: (...objects) =>
      graph.batch(() => {
        for (const object of objects) {
          const { to, key } = place(object);
          to.set(key, object);
        }
      }),
    remove: (object) => {
      const { to, key } = place(object);
      to.delete(key);
    },
  };
}
