import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import fc from 'fast-check';

import { istioCrds } from '../../api/crds/index.ts';
import { TestServer } from './testing/test-server.ts';

interface Sample {
  readonly path: string;
  readonly object: { readonly apiVersion: string; readonly kind: string; readonly metadata: { readonly name: string } };
}

const pod = {
  containers: [{ name: 'c', image: 'i', ports: [{ containerPort: 1 }], resources: { limits: { cpu: '1' } } }],
  volumes: [{ name: 'v', emptyDir: {} }],
};

const samples: readonly Sample[] = [
  {
    path: '/api/v1/namespaces/default/pods',
    object: { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'p' }, ...{ spec: pod } },
  },
  {
    path: '/api/v1/namespaces/default/services',
    object: {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 's' },
      ...{ spec: { ports: [{ port: 80, name: 'x' }], selector: { a: 'b' } } },
    },
  },
  {
    path: '/apis/apps/v1/namespaces/default/deployments',
    object: {
      ...{ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'd' } },
      ...{ spec: { selector: { matchLabels: { a: 'b' } }, template: { metadata: { labels: { a: 'b' } }, spec: pod } } },
    },
  },
  {
    path: '/apis/networking.istio.io/v1/namespaces/default/serviceentries',
    object: {
      ...{ apiVersion: 'networking.istio.io/v1', kind: 'ServiceEntry', metadata: { name: 'e' } },
      ...{ spec: { hosts: ['a.b'], ports: [{ number: 80, name: 'x' }], resolution: 'STATIC' } },
    },
  },
  {
    path: '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings',
    object: {
      ...{ apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'ClusterRoleBinding', metadata: { name: 'b' } },
      ...{ roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'x' }, subjects: [{ kind: 'User', name: 'x' }] },
    },
  },
];

const ways = [
  ['POST', 'application/json'],
  ['PUT', 'application/json'],
  ['PATCH', 'application/apply-patch+yaml'],
  ['PATCH', 'application/merge-patch+json'],
  ['PATCH', 'application/strategic-merge-patch+json'],
] as const;

/** All paths inside a value. */
function pathsIn(value: unknown, at: readonly string[] = []): (readonly string[])[] {
  if (typeof value !== 'object' || value === null) return [at];
  return [at, ...Object.entries(value).flatMap(([key, inner]) => pathsIn(inner, [...at, key]))];
}

/** The value with something else at a path. */
function replaceAt(value: unknown, [key, ...rest]: readonly string[], replacement: unknown): unknown {
  if (key === undefined) return replacement;
  const copy = structuredClone(value) as Record<string, unknown>;
  copy[key] = replaceAt(copy[key], rest, replacement);
  return copy;
}

describe('whatever a client sends', () => {
  let server: TestServer;
  before(async () => {
    server = await TestServer.start();
    for (const crd of istioCrds()) await server.json('POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', crd);
    await server.json('POST', '/api/v1/namespaces/default/serviceaccounts', { metadata: { name: 'default' } });
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
  });

  test('is answered by the API, never by a defect, and what is accepted can be read again', async () => {
    const input = fc.constantFrom(...samples).chain((sample) =>
      fc.record({
        sample: fc.constant(sample),
        at: fc.constantFrom(...pathsIn(sample.object)),
        junk: fc.oneof(fc.jsonValue(), fc.constantFrom(null, [], {}, [null], [{}], '', -1, 1e30, 'x'.repeat(300))),
        way: fc.constantFrom(...ways),
        subresource: fc.constantFrom('', '', '/status'),
      }),
    );
    await fc.assert(
      fc.asyncProperty(input, async ({ sample, at, junk, way: [method, type], subresource }) => {
        const { path, object } = sample;
        const name = `${path}/${object.metadata.name}`;
        if (method !== 'POST') await server.json('POST', path, object);
        const url = method === 'POST' ? path : `${name}${subresource}?fieldManager=fuzz&force=true`;
        const { status, body } = await server.json(method, url, replaceAt(object, at, junk), { 'content-type': type });
        assert.ok(status < 500, JSON.stringify(body));
        if (status >= 400) assert.equal(typeof body === 'string' || (body as { kind: string }).kind === 'Status', true);
        assert.equal((await server.json('GET', path)).status, 200);
        await server.json('DELETE', name);
      }),
      { numRuns: 400 },
    );
  });

  const raw: readonly (readonly [name: string, body: string, type: string, status: number])[] = [
    ['half a JSON document', '{"metadata":', 'application/json', 400],
    ['text', 'hello', 'application/json', 400],
    ['a list', '[]', 'application/json', 400],
    ['protobuf that is none', 'k8s\u0000\u00ff\u00ff', 'application/vnd.kubernetes.protobuf', 400],
    ['YAML that is none', 'a: [', 'application/yaml', 400],
    ['YAML with a reference to itself', 'a: &a [*a]', 'application/yaml', 400],
    ['another type', '<a/>', 'application/xml', 415],
    ['more than the limit', JSON.stringify({ data: { a: 'x'.repeat(4_000_000) } }), 'application/json', 413],
  ];
  for (const [name, body, type, status] of raw) {
    test(`${name}: ${status}`, async () => {
      const answer = await server.call({
        method: 'POST',
        path: '/api/v1/namespaces/default/configmaps',
        headers: { 'content-type': type },
        body,
      });
      assert.equal(answer.status, status, answer.text);
    });
  }
});
