import assert from 'node:assert/strict';
import { suite, test, type TestContext } from 'node:test';

import { create } from '@bufbuild/protobuf';
import { Code, ConnectError, createClient } from '@connectrpc/connect';

import {
  AggregatedDiscoveryService,
  DeltaDiscoveryRequestSchema,
  type DeltaDiscoveryRequest,
  type DeltaDiscoveryResponse,
} from '../api/gen/envoy/discovery_pb.js';
import { createLogger } from '../core/index.ts';
import { connectGrpc, GrpcServer, ResourceTable, XdsServer, type XdsServerOptions } from './index.ts';
import { RequestQueue } from './request-queue.ts';

const typeUrl = 'type.googleapis.com/test.Thing';
const log = createLogger('test');

/** A client that sends what a test says, so that every message on the wire is seen. */
class RawStream {
  readonly #requests = new RequestQueue<DeltaDiscoveryRequest>({ bound: 1000 });
  readonly #responses: AsyncIterator<DeltaDiscoveryResponse>;

  constructor(responses: (requests: AsyncIterable<DeltaDiscoveryRequest>) => AsyncIterable<DeltaDiscoveryResponse>) {
    this.#responses = responses(this.#requests)[Symbol.asyncIterator]();
  }

  send(request: Omit<Partial<DeltaDiscoveryRequest>, '$typeName' | '$unknown'>): void {
    void this.#requests.put(create(DeltaDiscoveryRequestSchema, { typeUrl, ...request }));
  }

  async next(): Promise<DeltaDiscoveryResponse> {
    const result = await this.#responses.next();
    assert.ok(result.done !== true, 'the stream has ended');
    return result.value;
  }

  async nextNames(): Promise<{ resources: string[]; removed: string[] }> {
    const response = await this.next();
    return { resources: response.resources.map(({ name }) => name).sort(), removed: [...response.removedResources].sort() };
  }

  end(): void {
    this.#requests.close();
  }
}

async function serve(
  t: TestContext,
  options: Partial<XdsServerOptions<string>> = {},
): Promise<{ table: ResourceTable; server: XdsServer<string>; open: () => Promise<RawStream> }> {
  const table = new ResourceTable({ typeUrl });
  const server = new XdsServer<string>({ tables: [table], authenticate: () => 'someone', log, ...options });
  const listener = await GrpcServer.listen({ methods: [server.method], host: '127.0.0.1', port: 0, log });
  const stop = new AbortController();
  const open = async (): Promise<RawStream> => {
    const connection = await connectGrpc({ url: `http://127.0.0.1:${listener.port}`, signal: stop.signal });
    t.after(() => connection[Symbol.dispose]());
    const ads = createClient(AggregatedDiscoveryService, connection.transport);
    return new RawStream((requests) => ads.deltaAggregatedResources(requests, { signal: stop.signal }));
  };
  t.after(async () => {
    stop.abort();
    await listener.close();
  });
  return { table, server, open };
}

const body = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (response: DeltaDiscoveryResponse): string[] =>
  response.resources.map(({ resource }) => new TextDecoder().decode(resource?.value));

suite('delta ADS server, wildcard', () => {
  test('answers the first request of an empty type', async (t) => {
    const { open } = await serve(t);
    const stream = await open();
    stream.send({});
    const response = await stream.next();
    assert.equal(response.typeUrl, typeUrl);
    assert.notEqual(response.nonce, '');
    assert.deepEqual([response.resources, response.removedResources], [[], []]);
  });

  test('sends what there is, then each change, then the removal', async (t) => {
    const { table, open } = await serve(t);
    table.set({ name: 'a', body: body('one') });
    const stream = await open();
    stream.send({ resourceNamesSubscribe: ['*'] });
    const first = await stream.next();
    assert.deepEqual(text(first), ['one']);
    assert.equal(first.resources[0]?.resource?.typeUrl, typeUrl);
    assert.deepEqual(
      first.resources.map(({ version }) => version),
      [table.get('a')?.version],
    );
    table.set({ name: 'a', body: body('two') });
    assert.deepEqual(text(await stream.next()), ['two']);
    table.delete('a');
    assert.deepEqual(await stream.nextNames(), { resources: [], removed: ['a'] });
  });

  test('a reconnect gets the difference only', async (t) => {
    const { table, open } = await serve(t);
    table.set({ name: 'same', body: body('1') });
    table.set({ name: 'changed', body: body('2') });
    table.set({ name: 'new', body: body('3') });
    const stream = await open();
    const same = table.get('same');
    assert.ok(same);
    stream.send({ initialResourceVersions: { same: same.version, changed: 'old', gone: 'x' } });
    assert.deepEqual(await stream.nextNames(), { resources: ['changed', 'new'], removed: ['gone'] });
  });

  test('an acknowledgement is not answered, and setting the same again is no change', async (t) => {
    const { table, open } = await serve(t);
    table.set({ name: 'a', body: body('1') });
    const stream = await open();
    stream.send({});
    const first = await stream.next();
    stream.send({ responseNonce: first.nonce });
    table.set({ name: 'a', body: body('1') });
    table.set({ name: 'b', body: body('1') });
    assert.deepEqual(await stream.nextNames(), { resources: ['b'], removed: [] });
  });

  test('changes made while a response is under way go out together', async (t) => {
    const { table, open } = await serve(t);
    const stream = await open();
    stream.send({});
    await stream.next();
    // Far more than the socket and HTTP/2's windows hold: the writer is stuck here until the client reads.
    table.set({ name: 'big', body: new Uint8Array(32 * 1024 * 1024) });
    await new Promise((resolve) => setImmediate(resolve));
    for (let index = 0; index < 1000; index++) table.set({ name: 'small', body: body(String(index)) });
    table.set({ name: 'short-lived', body: body('') });
    table.delete('short-lived');
    assert.deepEqual(await stream.nextNames(), { resources: ['big'], removed: [] });
    const second = await stream.next();
    assert.deepEqual(text(second), ['999']);
    assert.deepEqual(second.removedResources, ['short-lived']);
  });
});

suite('delta ADS server, on demand', () => {
  test('nothing until asked; an unknown name is answered as removed and sent once it exists', async (t) => {
    const { table, open } = await serve(t);
    table.set({ name: 'a', body: body('1') });
    const stream = await open();
    stream.send({ resourceNamesSubscribe: ['*'], resourceNamesUnsubscribe: ['*'] });
    assert.deepEqual(await stream.nextNames(), { resources: [], removed: [] });
    stream.send({ resourceNamesSubscribe: ['b'] });
    assert.deepEqual(await stream.nextNames(), { resources: [], removed: ['b'] });
    table.set({ name: 'a', body: body('2') });
    table.set({ name: 'b', body: body('3') });
    assert.deepEqual(await stream.nextNames(), { resources: ['b'], removed: [] });
    table.delete('b');
    assert.deepEqual(await stream.nextNames(), { resources: [], removed: ['b'] });
  });

  test('an alias brings the resource under its name and frees who waits for the alias', async (t) => {
    const { table, open } = await serve(t);
    table.set({ name: 'uid', body: body('1'), aliases: ['net/10.0.0.1'] });
    const stream = await open();
    stream.send({ resourceNamesSubscribe: ['net/10.0.0.1'] });
    assert.deepEqual(await stream.nextNames(), { resources: ['uid'], removed: ['net/10.0.0.1'] });
    table.set({ name: 'uid', body: body('2'), aliases: ['net/10.0.0.1'] });
    assert.deepEqual(await stream.nextNames(), { resources: ['uid'], removed: [] });
  });

  test('a key brings its members, those that come later too, until it is given up', async (t) => {
    const { table, open } = await serve(t, { implicitKeys: ({ node }) => (node === undefined ? [] : [`node/${node.id}`]) });
    table.batch(() => {
      table.set({ name: 'service', body: body('s') });
      table.set({ name: 'w1', body: body('1'), partOf: ['service'] });
      table.set({ name: 'mine', body: body('m'), partOf: ['node/n1'] });
      table.set({ name: 'other', body: body('o') });
    });
    const stream = await open();
    stream.send({
      node: { $typeName: 'envoy.service.discovery.v3.Node', id: 'n1', cluster: '', buildVersion: '' },
      resourceNamesSubscribe: ['service'],
    });
    assert.deepEqual(await stream.nextNames(), { resources: ['mine', 'service', 'w1'], removed: [] });
    table.set({ name: 'w2', body: body('2'), partOf: ['service'] });
    assert.deepEqual(await stream.nextNames(), { resources: ['w2'], removed: [] });
    table.delete('w1');
    assert.deepEqual(await stream.nextNames(), { resources: [], removed: ['w1'] });
    stream.send({ resourceNamesUnsubscribe: ['service'] });
    stream.send({ resourceNamesSubscribe: ['other'] });
    assert.deepEqual(await stream.nextNames(), { resources: ['other'], removed: [] });
    table.set({ name: 'w2', body: body('3'), partOf: ['service'] });
    table.set({ name: 'other', body: body('p') });
    assert.deepEqual(await stream.nextNames(), { resources: ['other'], removed: [] });
  });
});

suite('delta ADS server, callers', () => {
  test('a caller that is not authenticated hears why not in general only', async (t) => {
    const { open } = await serve(t, {
      authenticate: () => {
        throw new Error('token of a stranger');
      },
    });
    const stream = await open();
    stream.send({});
    await assert.rejects(stream.next(), (error: unknown) => {
      assert.ok(error instanceof ConnectError);
      assert.equal(error.code, Code.Unauthenticated);
      assert.doesNotMatch(error.message, /stranger/);
      return true;
    });
  });

  test('a type may be refused, and one that does not exist is empty', async (t) => {
    const { open } = await serve(t, { authorize: () => 'not for you' });
    const unknown = await open();
    unknown.send({ typeUrl: 'type.googleapis.com/test.Unknown' });
    assert.deepEqual(await unknown.nextNames(), { resources: [], removed: [] });
    const refused = await open();
    refused.send({});
    await assert.rejects(refused.next(), (error: unknown) => error instanceof ConnectError && error.code === Code.PermissionDenied);
  });

  test('a refusal by the client is reported and not answered', async (t) => {
    const refusals: string[] = [];
    const { table, server, open } = await serve(t, { onRejected: (_, type, message) => refusals.push(`${type} ${message}`) });
    const stream = await open();
    stream.send({});
    const { nonce } = await stream.next();
    stream.send({
      responseNonce: nonce,
      errorDetail: { $typeName: 'envoy.service.discovery.v3.Status', code: 0, message: 'bad', details: [] },
    });
    table.set({ name: 'a', body: body('1') });
    const second = await stream.next();
    stream.send({ responseNonce: second.nonce });
    stream.send({ resourceNamesSubscribe: ['a'] });
    await stream.next();
    assert.deepEqual(refusals, [`${typeUrl} bad`]);
    const [connection] = server.connections();
    const state = connection?.types.get(typeUrl);
    assert.equal(state?.rejections, 1);
    assert.equal(state.rejected, undefined);
    assert.equal(state.pushes, 3);
  });

  test('the server forgets a client that ends its stream', async (t) => {
    const { promise, resolve } = Promise.withResolvers<number>();
    const { server, open } = await serve(t, { onDisconnect: ({ id }) => resolve(id) });
    const stream = await open();
    stream.send({});
    await stream.next();
    stream.end();
    assert.equal(await promise, 1);
    assert.deepEqual([...server.connections()], []);
  });
});
