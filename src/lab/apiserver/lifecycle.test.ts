import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import type { AnyObject } from '../../api/kubernetes.ts';
import { asList, asObject } from './json.ts';
import { TestServer } from './testing/test-server.ts';

describe('the life of objects', () => {
  let server: TestServer;
  before(async () => {
    server = await TestServer.start();
    await server.json('POST', '/api/v1/namespaces/default/serviceaccounts', { metadata: { name: 'default' } });
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
  });

  const maps = '/api/v1/namespaces/default/configmaps';
  async function send(
    method: string,
    path: string,
    body?: unknown,
    type = 'application/json',
  ): Promise<{ status: number; object: AnyObject }> {
    const answer = await server.json(method, path, body, body === undefined ? {} : { 'content-type': type });
    return { status: answer.status, object: answer.body as AnyObject };
  }

  test('a namespace goes when its finalizer does', async () => {
    const { object } = await send('POST', '/api/v1/namespaces', { metadata: { name: 'going' } });
    assert.deepEqual(asObject(object['spec'])['finalizers'], ['kubernetes']);
    const marked = await send('DELETE', '/api/v1/namespaces/going');
    assert.equal(asObject(marked.object['status'])['phase'], 'Terminating');
    assert.equal((await send('POST', '/api/v1/namespaces/going/configmaps', { metadata: { name: 'x' } })).status, 403);
    const final = await send('PUT', '/api/v1/namespaces/going/finalize', { ...marked.object, spec: { finalizers: [] } });
    assert.equal(final.status, 200);
    assert.equal((await send('GET', '/api/v1/namespaces/going')).status, 404);
    assert.equal((await send('POST', '/api/v1/namespaces/going/configmaps', { metadata: { name: 'x' } })).status, 404);
  });

  test('the namespaces of the system stay', async () => {
    assert.equal((await send('DELETE', '/api/v1/namespaces/kube-system')).status, 403);
  });

  for (const [policy, finalizer] of [
    ['Foreground', 'foregroundDeletion'],
    ['Orphan', 'orphan'],
  ] as const) {
    test(`propagation policy ${policy} leaves it to the garbage collector`, async () => {
      const name = policy.toLowerCase();
      await send('POST', maps, { metadata: { name } });
      const { object } = await send('DELETE', `${maps}/${name}`, { kind: 'DeleteOptions', apiVersion: 'v1', propagationPolicy: policy });
      assert.deepEqual(object.metadata.finalizers, [finalizer]);
      assert.ok(object.metadata.deletionTimestamp !== undefined);
      await send('PATCH', `${maps}/${name}`, { metadata: { finalizers: [] } }, 'application/merge-patch+json');
      assert.equal((await send('GET', `${maps}/${name}`)).status, 404);
    });
  }

  test('a pod on a node gets its time, a second deletion may shorten it', async () => {
    const pods = '/api/v1/namespaces/default/pods';
    await send('POST', pods, {
      metadata: { name: 'p' },
      spec: { containers: [{ name: 'c', image: 'i' }], terminationGracePeriodSeconds: 7 },
    });
    await send('POST', `${pods}/p/binding`, { metadata: { name: 'p' }, target: { kind: 'Node', name: 'n' } });
    const bound = await send('GET', `${pods}/p`);
    assert.equal(asObject(bound.object['spec'])['nodeName'], 'n');
    const first = await send('DELETE', `${pods}/p`);
    assert.equal(first.object.metadata.deletionGracePeriodSeconds, 7);
    assert.equal((await send('POST', `${pods}/p/binding`, { metadata: { name: 'p' }, target: { kind: 'Node', name: 'm' } })).status, 409);
    const shorter = await send('DELETE', `${pods}/p?gracePeriodSeconds=2`);
    assert.equal(shorter.object.metadata.deletionGracePeriodSeconds, 2);
    const longer = await send('DELETE', `${pods}/p?gracePeriodSeconds=60`);
    assert.equal(longer.object.metadata.deletionGracePeriodSeconds, 2);
    await send('DELETE', `${pods}/p?gracePeriodSeconds=0`);
    assert.equal((await send('GET', `${pods}/p`)).status, 404);
  });

  test('a Service keeps its address, and no two have the same', async () => {
    const services = '/api/v1/namespaces/default/services';
    const addresses = new Set<unknown>();
    for (let i = 0; i < 50; i++) {
      const { object, status } = await send('POST', services, { metadata: { name: `s${i}` }, spec: { ports: [{ port: 80 }] } });
      assert.equal(status, 201);
      addresses.add(asObject(object['spec'])['clusterIP']);
    }
    assert.equal(addresses.size, 50);
    const [before] = addresses;
    const replaced = await send('PUT', `${services}/s0`, { metadata: { name: 's0' }, spec: { ports: [{ port: 81 }] } });
    assert.equal(asObject(replaced.object['spec'])['clusterIP'], before);
    const taken = await send('POST', services, { metadata: { name: 'taken' }, spec: { clusterIP: before, ports: [{ port: 80 }] } });
    assert.equal(taken.status, 422);
    assert.equal(
      (await send('POST', services, { metadata: { name: 'dns' }, spec: { clusterIP: '10.96.0.10', ports: [{ port: 53 }] } })).status,
      201,
    );
    assert.equal(
      (await send('POST', services, { metadata: { name: 'far' }, spec: { clusterIP: '10.97.0.1', ports: [{ port: 53 }] } })).status,
      422,
    );
  });

  test('node ports come and go with the type', async () => {
    const services = '/api/v1/namespaces/default/services';
    const { object } = await send('POST', services, { metadata: { name: 'lb' }, spec: { type: 'LoadBalancer', ports: [{ port: 80 }] } });
    const [port] = asList(asObject(object['spec'])['ports']).map(asObject);
    assert.ok(Number(port?.['nodePort']) >= 30000 && Number(port?.['nodePort']) <= 32767);
    const same = await send('PATCH', `${services}/lb`, { metadata: { labels: { a: 'b' } } }, 'application/merge-patch+json');
    assert.deepEqual(asObject(same.object['spec'])['ports'], asObject(object['spec'])['ports']);
    const plain = await send('PATCH', `${services}/lb`, { spec: { type: 'ClusterIP' } }, 'application/merge-patch+json');
    assert.equal(plain.status, 200, JSON.stringify(plain.object));
    assert.equal(asObject(asList(asObject(plain.object['spec'])['ports'])[0])['nodePort'], undefined);
  });

  const definition = (extra: object = {}): object => ({
    metadata: { name: 'things.example.org' },
    spec: {
      group: 'example.org',
      scope: 'Namespaced',
      names: { plural: 'things', kind: 'Thing' },
      versions: ['v1', 'v1beta1'].map((name) => ({
        name,
        served: true,
        storage: name === 'v1',
        schema: {
          openAPIV3Schema: {
            type: 'object',
            properties: { spec: { type: 'object', properties: { size: { type: 'integer', ...extra } } } },
          },
        },
      })),
    },
  });
  const definitions = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
  const things = '/apis/example.org/v1/namespaces/default/things';

  test('a definition is served in the moment it is accepted, in all its versions, also after a restart', async () => {
    assert.equal((await send('GET', things)).status, 404);
    assert.equal((await send('POST', definitions, definition())).status, 201);
    assert.equal(
      (await send('POST', things, { apiVersion: 'example.org/v1', kind: 'Thing', metadata: { name: 'a' }, spec: { size: 3 } })).status,
      201,
    );
    const { object } = await send('GET', `${definitions}/things.example.org`);
    const conditions = asList(asObject(object['status'])['conditions']).map(asObject);
    assert.deepEqual(
      conditions.map(({ type, status }) => [type, status]),
      [
        ['NamesAccepted', 'True'],
        ['Established', 'True'],
      ],
    );
    await server.stop();
    server = await TestServer.start({ stateDir: server.stateDir });
    const beta = await send('GET', '/apis/example.org/v1beta1/namespaces/default/things/a');
    assert.equal(beta.object.apiVersion, 'example.org/v1beta1');
    assert.deepEqual(beta.object['spec'], { size: 3 });
  });

  test('a changed definition holds for what is written from then on', async () => {
    const path = `${definitions}/things.example.org`;
    const { object } = await send('GET', path);
    const changed = { ...object, spec: { ...asObject(object['spec']), ...asObject(asObject(definition({ maximum: 5 }))['spec']) } };
    assert.equal((await send('PUT', path, changed)).status, 200);
    assert.equal(
      (await send('POST', things, { apiVersion: 'example.org/v1', kind: 'Thing', metadata: { name: 'b' }, spec: { size: 6 } })).status,
      422,
    );
  });

  test('a deleted definition takes its objects along, and waits for those that are held', async () => {
    const body = { apiVersion: 'example.org/v1', kind: 'Thing', metadata: { name: 'held', finalizers: ['example.org/hold'] } };
    assert.equal((await send('POST', things, body)).status, 201);
    await send('DELETE', `${definitions}/things.example.org`);
    assert.equal((await send('GET', `${things}/a`)).status, 404);
    assert.equal((await send('POST', things, { ...body, metadata: { name: 'late' } })).status, 405);
    assert.equal((await send('GET', `${definitions}/things.example.org`)).status, 200);
    await send('PATCH', `${things}/held`, { metadata: { finalizers: null } }, 'application/merge-patch+json');
    assert.equal((await send('GET', `${definitions}/things.example.org`)).status, 404);
    assert.equal((await send('GET', things)).status, 404);
  });

  test('events are the same in both of their groups', async () => {
    const event = {
      metadata: { name: 'e' },
      involvedObject: { kind: 'Pod', name: 'p', namespace: 'default' },
      message: 'm',
      reason: 'R',
      type: 'Normal',
    };
    await send('POST', '/api/v1/namespaces/default/events', event);
    const { object } = await send('GET', '/apis/events.k8s.io/v1/namespaces/default/events/e');
    assert.equal(object['note'], 'm');
    assert.deepEqual(object['regarding'], event.involvedObject);
  });
});
