import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import https from 'node:https';
import { after, before, describe, test } from 'node:test';

import type { AnyObject } from '../../api/kubernetes.ts';
import { TestServer } from './testing/test-server.ts';

interface Event {
  readonly type: string;
  readonly object: AnyObject & { readonly message?: string; readonly code?: number };
}

/** Reads a watch until `count` events came or it ended. */
async function events(server: TestServer, query: string, count: number, during?: () => Promise<void>): Promise<Event[]> {
  const response = await open(server, query);
  await during?.();
  const result: Event[] = [];
  let rest = '';
  for await (const chunk of response) {
    const lines = (rest + (chunk as Buffer).toString('utf8')).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) result.push(JSON.parse(line) as Event);
    if (result.length >= count) break;
  }
  return result;
}

async function open(server: TestServer, query: string): Promise<IncomingMessage> {
  const { ca, admin } = server.pki;
  const path = `/api/v1/namespaces/default/configmaps?watch=true&${query}`;
  const request = https.get({ host: '127.0.0.1', port: server.port, path, ca, cert: admin.certificate, key: admin.key, agent: false });
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  assert.equal(response.statusCode, 200);
  return response;
}

describe('watch', () => {
  let server: TestServer;
  before(async () => {
    server = await TestServer.start({ history: { count: 64, characters: 1e6 } });
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
  });

  const path = '/api/v1/namespaces/default/configmaps';
  const create = async (name: string, extra: object = {}): Promise<AnyObject> => {
    const { status, body } = await server.json('POST', path, { metadata: { name, ...extra }, data: { a: '1' } });
    assert.equal(status, 201);
    return body as AnyObject;
  };
  const patch = async (name: string, body: object): Promise<AnyObject> =>
    (await server.json('PATCH', `${path}/${name}`, body, { 'content-type': 'application/merge-patch+json' })).body as AnyObject;
  const shown = (list: readonly Event[]): string[] => list.map(({ type, object }) => `${type} ${object.metadata.name}`);

  test('every change from a version on, in order, each once', async () => {
    const { metadata } = await create('from');
    await patch('from', { data: { a: '2' } });
    const seen = await events(server, `resourceVersion=${metadata.resourceVersion}`, 4, async () => {
      await create('from-2');
      await server.json('DELETE', `${path}/from`);
      await patch('from-2', { data: { a: '3' } });
    });
    assert.deepEqual(shown(seen), ['MODIFIED from', 'ADDED from-2', 'DELETED from', 'MODIFIED from-2']);
    const versions = seen.map(({ object }) => Number(object.metadata.resourceVersion));
    assert.deepEqual(
      versions,
      [...versions].sort((a, b) => a - b),
    );
  });

  test('an object comes into a selection and leaves it', async () => {
    const { metadata } = await create('moves');
    const seen = await events(server, `labelSelector=side%3Dleft&resourceVersion=${metadata.resourceVersion}`, 3, async () => {
      await patch('moves', { metadata: { labels: { side: 'left' } } });
      await patch('moves', { data: { a: '2' } });
      await patch('moves', { metadata: { labels: { side: 'right' } } });
    });
    assert.deepEqual(shown(seen), ['ADDED moves', 'MODIFIED moves', 'DELETED moves']);
  });

  test('initial events end with a bookmark that says so, and changes follow', async () => {
    await create('initial', { labels: { initial: 'yes' } });
    const query = 'labelSelector=initial%3Dyes&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true';
    const seen = await events(server, query, 3, async () => {
      await patch('initial', { data: { a: '2' } });
    });
    const [first, bookmark, change] = seen;
    assert.equal(first?.type, 'ADDED');
    assert.equal(bookmark?.type, 'BOOKMARK');
    assert.deepEqual(bookmark.object.metadata.annotations, { 'k8s.io/initial-events-end': 'true' });
    assert.equal(change?.type, 'MODIFIED');
    assert.ok(Number(change.object.metadata.resourceVersion) > Number(bookmark.object.metadata.resourceVersion));
  });

  test('a version beyond the window is answered with 410 and the end', async () => {
    const { metadata } = await create('old');
    for (let i = 0; i < 80; i++) await patch('old', { data: { a: `x${i}` } });
    const seen = await events(server, `resourceVersion=${metadata.resourceVersion}`, 99);
    assert.equal(seen.length, 1);
    assert.equal(seen[0]?.type, 'ERROR');
    assert.equal(seen[0].object.code, 410);
  });

  test('a client that does not read costs the server no memory and the others no time, and is told when it fell behind', async () => {
    const { metadata } = await create('slow');
    const slow = await open(server, `resourceVersion=${metadata.resourceVersion}`);
    slow.pause();
    const fast = events(server, `resourceVersion=${metadata.resourceVersion}&fieldSelector=metadata.name%3Dslow`, 200);
    // More than the sockets' buffers between the two take.
    for (let i = 0; i < 200; i++) await patch('slow', { data: { a: `${i} ${'x'.repeat(100_000)}` } });
    const heard = await fast;
    assert.ok(heard.at(-1)?.type === 'MODIFIED' || heard.at(-1)?.object.code === 410);
    let text = '';
    for await (const chunk of slow) text += (chunk as Buffer).toString('utf8');
    const lines = text.trimEnd().split('\n');
    const last = JSON.parse(lines.at(-1) ?? '{}') as Event;
    assert.equal(last.type, 'ERROR');
    assert.equal(last.object.code, 410);
    assert.ok(lines.length < 200, `${lines.length} events were kept for it`);
  });

  test('a watch ends after its time', async () => {
    const started = performance.now();
    assert.deepEqual(await events(server, 'resourceVersion=999999999&timeoutSeconds=1', 1), []);
    assert.ok(performance.now() - started >= 900);
  });

  test('bookmarks tell the current version, until the end and not after', async () => {
    await using marking = await TestServer.start({ bookmarkEvery: 50 });
    const { body } = await marking.json('GET', path);
    const { resourceVersion } = (body as { metadata: { resourceVersion: string } }).metadata;
    const query = `resourceVersion=${resourceVersion}&allowWatchBookmarks=true&timeoutSeconds=1`;
    const watches = Array.from({ length: 10 }, () => events(marking, query, 99));
    await marking.json('POST', '/api/v1/namespaces', { metadata: { name: 'elsewhere' } });
    for (const seen of await Promise.all(watches)) {
      assert.ok(seen.length > 5);
      assert.ok(seen.every(({ type }) => type === 'BOOKMARK'));
      assert.ok(Number(seen.at(-1)?.object.metadata.resourceVersion) > Number(resourceVersion));
    }
    // The server is still there.
    assert.equal((await marking.json('GET', '/healthz')).status, 200);
  });

  test('as a table, the columns come once', async () => {
    const { ca, admin } = server.pki;
    await create('tabled');
    await create('tabled-2');
    const request = https.get({
      ...{ host: '127.0.0.1', port: server.port, ca, cert: admin.certificate, key: admin.key, agent: false },
      path: `${path}?watch=true&resourceVersion=0&timeoutSeconds=1`,
      headers: { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' },
    });
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    let text = '';
    for await (const chunk of response) text += (chunk as Buffer).toString('utf8');
    const tables = text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { object: { columnDefinitions: unknown[] | null } });
    assert.ok(tables.length >= 2);
    assert.deepEqual(
      tables.map(({ object }, index) => (object.columnDefinitions?.length ?? 0) > 0 === (index === 0)),
      tables.map(() => true),
    );
  });

  test('a restarted server goes on from the version that a client has', async () => {
    const { metadata } = await create('restart');
    await server.stop();
    server = await TestServer.start({ stateDir: server.stateDir, port: server.port });
    const seen = await events(server, `resourceVersion=${metadata.resourceVersion}`, 1, async () => {
      await patch('restart', { data: { a: '2' } });
    });
    assert.deepEqual(shown(seen), ['MODIFIED restart']);
  });
});

describe('lists', () => {
  let server: TestServer;
  before(async () => {
    server = await TestServer.start();
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
  });

  test('pages are of one version, whatever happens in between', async () => {
    const names = Array.from({ length: 7 }, (_, i) => `page-${i}`);
    for (const namespace of ['a', 'a-b']) {
      await server.json('POST', '/api/v1/namespaces', { metadata: { name: namespace } });
      for (const name of names) await server.json('POST', `/api/v1/namespaces/${namespace}/configmaps`, { metadata: { name } });
    }
    const seen: string[] = [];
    let next = '';
    for (let page = 0; page < 20; page++) {
      const { body } = await server.json('GET', `/api/v1/configmaps?limit=3&continue=${encodeURIComponent(next)}`);
      const list = body as { items: AnyObject[]; metadata: { continue?: string } };
      seen.push(...list.items.map(({ metadata }) => `${metadata.namespace ?? ''}/${metadata.name}`));
      next = list.metadata.continue ?? '';
      if (next === '') break;
      await server.json('POST', '/api/v1/namespaces/a/configmaps', { metadata: { name: `page-5-late-${page}` } });
      await server.json('DELETE', `/api/v1/namespaces/a-b/configmaps/page-${page}`);
    }
    const all = ['a', 'a-b'].flatMap((namespace) => names.map((name) => `${namespace}/${name}`));
    assert.deepEqual([...seen].sort(), all.sort());
  });

  test('a list can be had as it was', async () => {
    const { body } = await server.json('GET', '/api/v1/namespaces');
    const { resourceVersion } = (body as { metadata: { resourceVersion: string } }).metadata;
    await server.json('POST', '/api/v1/namespaces', { metadata: { name: 'later' } });
    const then = await server.json('GET', `/api/v1/namespaces?resourceVersion=${resourceVersion}&resourceVersionMatch=Exact`);
    assert.ok(!JSON.stringify(then.body).includes('"later"'));
    const now = await server.json('GET', `/api/v1/namespaces?resourceVersion=${resourceVersion}`);
    assert.ok(JSON.stringify(now.body).includes('"later"'));
  });
});
