import assert from 'node:assert/strict';
import { test } from 'node:test';

import { DecodeError, schemaFor } from './index.ts';
import { isObject, objectsAt, type Json } from './json.ts';
import { captured, capturedById, kindOf } from './testing/captured.ts';

/** All objects in the answers, lists' items with the kind that the list gives them. */
const answered = captured.flatMap(({ id, answer }) => {
  const kind = String(answer['kind']);
  const objects = kind.endsWith('List')
    ? objectsAt(answer, 'items').map((item) => ({ apiVersion: answer['apiVersion'], kind: kind.slice(0, -4), ...item }))
    : [answer];
  return objects.filter((object: Json) => isObject(object['metadata'])).map((object) => ({ id, object: object }));
});

test('reads what a server wrote and writes the same, field by field in the same order', () => {
  let count = 0;
  for (const { id, object } of answered) {
    const kind = kindOf(object);
    if (kind === undefined || kind.crd !== undefined) continue;
    count++;
    const { object: read, unknownFields } = kind.schema.prune(object, { mode: 'drop' });
    assert.deepEqual(unknownFields, [], id);
    const body = (whole: Json): string => JSON.stringify(Object.entries(whole).filter(([key]) => key !== 'apiVersion' && key !== 'kind'));
    assert.equal(body(read), body(object), id);
  }
  assert.ok(count > 90, `${count} objects were compared`);
});

/** What admission, allocation and controllers add to a created object: no default of its type. */
const added: Readonly<Record<string, readonly string[]>> = {
  Namespace: ['spec.finalizers'],
  Node: ['spec.taints'],
  Pod: [
    'spec.volumes',
    'spec.containers.0.volumeMounts',
    'spec.tolerations',
    'spec.priority',
    'spec.preemptionPolicy',
    'status.phase',
    'status.qosClass',
  ],
  Service: ['spec.clusterIP', 'spec.clusterIPs', 'spec.ipFamilies', 'spec.ipFamilyPolicy', 'spec.ports.0.nodePort'],
  CustomResourceDefinition: ['status.storedVersions'],
};

function without(object: Json, paths: readonly string[], path = ''): unknown {
  const strip = (value: unknown, at: string): unknown => {
    if (Array.isArray(value)) return value.map((item, index) => strip(item, `${at}${index}.`));
    return isObject(value) ? without(value, paths, at) : value;
  };
  const kept = Object.entries(object).filter(([key]) => !paths.includes(`${path}${key}`) && `${path}${key}` !== 'metadata');
  return Object.fromEntries(kept.map(([key, value]) => [key, strip(value, `${path}${key}.`)]));
}

for (const call of captured) {
  const { id, method, status, body, answer } = call;
  if (method !== 'POST' || status !== 201 || !isObject(body) || body['kind'] !== answer['kind']) continue;
  const kind = kindOf(body);
  // Reviews are answers, not stored objects.
  if (kind?.crd !== undefined || kind?.resource.storageVersionHash === undefined) continue;
  test(`fills in what a server fills into ${id}`, () => {
    const object = kind.schema.default(kind.schema.prune(body, { mode: 'drop' }).object);
    const paths = added[kind.resource.kind] ?? [];
    assert.deepEqual(without(object, paths), without(answer, paths));
  });
}

test('says in Go’s words what cannot be read', () => {
  const read = (id: string): unknown => {
    const { body } = capturedById(id);
    const kind = isObject(body) ? kindOf(body) : undefined;
    return kind?.schema.prune(body, { mode: 'drop' });
  };
  for (const id of ['cm-badtype', 'sec-badb64']) {
    const message = String(capturedById(id).answer['message']).replace(/^.* cannot be handled as a \w+: /, '');
    assert.throws(
      () => read(id),
      (error) => error instanceof DecodeError && error.message === message,
      id,
    );
  }
  const service = schemaFor({ group: '', version: 'v1', kind: 'Service' });
  assert.throws(() => service.prune({ spec: { ports: [{ port: 'http' }] } }, { mode: 'drop' }), {
    message: 'json: cannot unmarshal string into Go struct field ServicePort.spec.ports.port of type int32',
  });
  assert.throws(() => service.prune({ spec: [] }, { mode: 'drop' }), {
    message: 'json: cannot unmarshal array into Go struct field Service.spec of type v1.ServiceSpec',
  });
});

test('reports unknown fields by their path, and drops or keeps them', () => {
  const deployment = schemaFor({ group: 'apps', version: 'v1', kind: 'Deployment' });
  const body = {
    kind: 'Deployment',
    spec: { paused: true, template: { spec: { containers: [{ name: 'c', imag: 'x' }] } } },
    junk: 1,
    metadata: { nam: 'x' },
  };
  const dropped = deployment.prune(body, { mode: 'drop' });
  assert.deepEqual(dropped.unknownFields, ['metadata.nam', 'spec.template.spec.containers[0].imag', 'junk']);
  assert.equal(JSON.stringify(dropped.object).includes('imag'), false);
  assert.equal(JSON.stringify(deployment.prune(body, { mode: 'keep' }).object).includes('"imag":"x"'), true);
});

test('knows the defaults that depend on other fields', () => {
  const pods = schemaFor({ group: '', version: 'v1', kind: 'Pod' });
  const spec = (given: Json): Json =>
    pods.default(pods.prune({ metadata: { name: 'p' }, spec: given }, { mode: 'drop' }).object)['spec'] as Json;
  const container = (image: string): Json => objectsAt(spec({ containers: [{ name: 'c', image }] }), 'containers')[0] ?? {};
  for (const [image, policy] of [
    ['curlimages/curl', 'Always'],
    ['curlimages/curl:latest', 'Always'],
    ['localhost:5000/curl', 'Always'],
    ['localhost:5000/curl:1', 'IfNotPresent'],
    ['curl@sha256:0000', 'IfNotPresent'],
  ] as const) {
    assert.equal(container(image)['imagePullPolicy'], policy, image);
  }
  const host = spec({
    hostNetwork: true,
    containers: [{ name: 'c', image: 'i', ports: [{ containerPort: 15008 }], resources: { limits: { cpu: '0.5' } } }],
  });
  const [first] = objectsAt(host, 'containers');
  assert.deepEqual(first?.['ports'], [{ hostPort: 15008, containerPort: 15008, protocol: 'TCP' }]);
  assert.deepEqual(first['resources'], { limits: { cpu: '500m' }, requests: { cpu: '500m' } });
  const volumes = spec({
    containers: [],
    volumes: [
      { name: 'e' },
      { name: 'h', hostPath: { path: '/' } },
      { name: 't', projected: { sources: [{ serviceAccountToken: { path: 'token' } }] } },
    ],
  })['volumes'];
  assert.deepEqual(volumes, [
    { name: 'e', emptyDir: {} },
    { name: 'h', hostPath: { path: '/', type: '' } },
    { name: 't', projected: { sources: [{ serviceAccountToken: { expirationSeconds: 3600, path: 'token' } }], defaultMode: 420 } },
  ]);
});

test('leaves defaulted objects as they are', () => {
  for (const { id, object } of answered) {
    const kind = kindOf(object);
    if (kind === undefined || kind.crd !== undefined) continue;
    const once = kind.schema.default(kind.schema.prune(object, { mode: 'drop' }).object);
    assert.deepEqual(kind.schema.default(once), once, id);
  }
});
