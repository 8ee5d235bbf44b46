import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { suite, test, type TestContext } from 'node:test';

import { createLogger } from '../core/index.ts';
import { CertificateAuthority, createRoot, uriNames, type KeyedCertificate } from '../pki/index.ts';
import {
  GrpcServer,
  ResourceTable,
  XdsClient,
  XdsServer,
  type CallContext,
  type ClientTls,
  type Rejection,
  type ResourceUpdate,
  type XdsClientOptions,
  type XdsClientState,
} from './index.ts';

const log = createLogger('test');
const first = 'type.googleapis.com/test.First';
const second = 'type.googleapis.com/test.Second';
const host = 'istiod.istio-system.svc';
const authority = await CertificateAuthority.create({ material: await createRoot() });
const serving = await authority.issueServing({ dnsNames: [host], uris: ['spiffe://cluster.local/ns/istio-system/sa/istiod'] });

interface Served {
  readonly tables: readonly [ResourceTable, ResourceTable];
  readonly server: XdsServer<CallContext>;
  readonly url: string;
  readonly refusals: string[];
  /** Resolves when the client refused so many responses. */
  refused(count: number): Promise<void>;
  stop(): Promise<void>;
  start(): Promise<void>;
  show(certificate: KeyedCertificate): void;
}

async function serve(t: TestContext): Promise<Served> {
  const tables = [new ResourceTable({ typeUrl: first }), new ResourceTable({ typeUrl: second })] as const;
  const refusals: string[] = [];
  const events = new EventEmitter();
  const server = new XdsServer<CallContext>({
    tables,
    authenticate: (call) => call,
    onRejected: (_, typeUrl, message) => {
      refusals.push(`${typeUrl.split('.').at(-1) ?? ''}: ${message}`);
      events.emit('refused');
    },
    log,
  });
  const listen = (port: number): Promise<GrpcServer> =>
    GrpcServer.listen({
      methods: [server.method],
      tls: { certificate: serving.chain, key: serving.key, roots: serving.roots },
      host: '127.0.0.1',
      port,
      log,
    });
  let listener = await listen(0);
  const { port } = listener;
  t.after(() => listener.close());
  return {
    tables,
    server,
    url: `https://127.0.0.1:${port}`,
    refusals,
    refused: async (count) => {
      while (refusals.length < count) await once(events, 'refused');
    },
    stop: () => listener.close(),
    start: async () => {
      listener = await listen(port);
    },
    show: ({ chain, key, roots }) => listener.setTls({ certificate: chain, key, roots }),
  };
}

/** What a client was told, in order: `+name=text` and `-name`. */
class Follower {
  readonly heard: string[] = [];
  readonly states: XdsClientState[] = [];
  readonly client: XdsClient;
  /** Names to refuse. */
  readonly refuse = new Map<string, string>();
  #watchers = new Set<() => void>();

  constructor(
    t: TestContext,
    options: Partial<XdsClientOptions> & { readonly url: string | (() => string); readonly modes?: 'on-demand' },
  ) {
    const handle = ({ resources, removed }: ResourceUpdate): Rejection[] => {
      for (const { name, body } of resources) this.heard.push(`+${name}=${new TextDecoder().decode(body)}`);
      for (const name of removed) this.heard.push(`-${name}`);
      this.#notify();
      return resources.flatMap(({ name }) => {
        const reason = this.refuse.get(name);
        return reason === undefined ? [] : [{ name, reason }];
      });
    };
    this.client = new XdsClient({
      tls: (): ClientTls => ({ roots: authority.roots, serverName: host }),
      node: { id: 'ztunnel~10.0.0.1~a.b~c', metadata: { NODE_NAME: 'n1' } },
      subscriptions: [
        { typeUrl: first, ...(options.modes !== undefined && { mode: options.modes }), handle },
        { typeUrl: second, handle },
      ],
      backoff: { initial: 10, max: 50 },
      onState: (state) => {
        this.states.push(state);
        this.#notify();
      },
      log,
      ...options,
    });
    const stop = new AbortController();
    const running = this.client.run(stop.signal);
    t.after(async () => {
      stop.abort();
      await running;
    });
  }

  async until(check: () => boolean): Promise<void> {
    await new Promise<void>((resolve) => {
      const look = (): void => {
        if (!check()) return;
        this.#watchers.delete(look);
        resolve();
      };
      this.#watchers.add(look);
      look();
    });
  }

  async state(kind: XdsClientState['kind'], since = 0): Promise<void> {
    await this.until(() => this.states.slice(since).some((state) => state.kind === kind));
  }

  #notify(): void {
    for (const watcher of this.#watchers) watcher();
  }
}

const body = (text: string): Uint8Array => new TextEncoder().encode(text);

suite('delta ADS client', { timeout: 30_000 }, () => {
  test('is synced when all types were answered, empty ones too', async (t) => {
    const { tables, url, server } = await serve(t);
    tables[0].set({ name: 'a', body: body('1') });
    const follower = new Follower(t, { url, headers: () => ({ authorization: 'Bearer xyz', clusterid: 'cluster-1' }) });
    await follower.state('synced');
    assert.deepEqual(follower.heard, ['+a=1']);
    assert.deepEqual(
      follower.states.map(({ kind }) => kind),
      ['connecting', 'connected', 'synced'],
    );
    const [connection] = server.connections();
    assert.equal(connection?.node?.id, 'ztunnel~10.0.0.1~a.b~c');
    assert.equal(connection.node.metadata?.['NODE_NAME'], 'n1');
    assert.equal(connection.caller.headers.get('authorization'), 'Bearer xyz');
    assert.equal(connection.caller.headers.get('clusterid'), 'cluster-1');
  });

  test('after a lost connection hears only what changed meanwhile', async (t) => {
    const { tables, url, stop, start } = await serve(t);
    for (const name of ['same', 'changed', 'gone']) tables[0].set({ name, body: body('1') });
    const follower = new Follower(t, { url });
    await follower.state('synced');
    const before = follower.states.length;
    await stop();
    await follower.state('disconnected', before);
    tables[0].batch(() => {
      tables[0].set({ name: 'changed', body: body('2') });
      tables[0].set({ name: 'new', body: body('3') });
      tables[0].delete('gone');
    });
    follower.heard.length = 0;
    await start();
    await follower.state('synced', before);
    assert.deepEqual(follower.heard.sort(), ['+changed=2', '+new=3', '-gone']);
  });

  test('refuses what its handler refuses, and gets it again when it reconnects', async (t) => {
    const { tables, url, server, refusals, refused } = await serve(t);
    const follower = new Follower(t, { url });
    follower.refuse.set('bad', 'no use');
    await follower.state('synced');
    tables[0].batch(() => {
      tables[0].set({ name: 'bad', body: body('1') });
      tables[0].set({ name: 'good', body: body('1') });
    });
    await follower.until(() => follower.heard.includes('+good=1'));
    follower.refuse.clear();
    follower.heard.length = 0;
    const before = follower.states.length;
    tables[1].set({ name: 'after', body: body('1') });
    await follower.until(() => follower.heard.includes('+after=1'));
    await refused(1);
    assert.deepEqual(refusals, ['First: bad: no use']);
    server.disconnectAll();
    await follower.state('synced', before);
    assert.deepEqual(follower.heard, ['+after=1', '+bad=1']);
  });

  test('a handler that throws refuses the response and keeps the stream', async (t) => {
    const { tables, url, refusals, refused } = await serve(t);
    let broken = true;
    const heard = Promise.withResolvers<string[]>();
    const follower = new Follower(t, {
      url,
      subscriptions: [
        {
          typeUrl: first,
          handle: ({ resources }) => {
            if (broken && resources.length > 0) throw new Error('broken');
            if (resources.length > 0) heard.resolve(resources.map(({ name }) => name));
            return undefined;
          },
        },
      ],
    });
    await follower.state('synced');
    tables[0].set({ name: 'a', body: body('1') });
    await refused(1);
    broken = false;
    tables[0].set({ name: 'a', body: body('2') });
    assert.deepEqual(await heard.promise, ['a']);
    assert.deepEqual(refusals, ['First: *: broken']);
    assert.equal(follower.states.at(-1)?.kind, 'synced');
  });

  test('on demand gets what it asks for, again after a reconnect', async (t) => {
    const { tables, url, server } = await serve(t);
    tables[0].set({ name: 'a', body: body('1') });
    tables[0].set({ name: 'b', body: body('1') });
    const follower = new Follower(t, { url, modes: 'on-demand' });
    await follower.state('synced');
    assert.equal(follower.heard.length, 0);
    follower.client.subscribe(first, ['a', 'none']);
    await follower.until(() => follower.heard.length === 2);
    assert.deepEqual(follower.heard, ['+a=1', '-none']);
    const before = follower.states.length;
    server.disconnectAll();
    await follower.state('synced', before);
    tables[0].set({ name: 'b', body: body('2') });
    tables[0].set({ name: 'a', body: body('2') });
    tables[0].set({ name: 'none', body: body('2') });
    await follower.until(() => follower.heard.includes('+none=2'));
    assert.ok(follower.heard.includes('+a=2'));
    assert.ok(!follower.heard.some((line) => line.startsWith('+b')));
  });

  test('checks the name, the root, or whatever it is given to check', async (t) => {
    const { url } = await serve(t);
    const stranger = await CertificateAuthority.create({ material: await createRoot() });
    const cases: readonly [string, ClientTls, RegExp][] = [
      ['another name', { roots: authority.roots, serverName: 'other.svc' }, /does not match/],
      ['the address, which is not in the certificate', { roots: authority.roots }, /IP: 127\.0\.0\.1/],
      ['another root', { roots: stranger.roots, serverName: host }, /self-signed|unable to/],
      [
        'its own check',
        {
          roots: authority.roots,
          verifyServer: (chain) => {
            throw new Error(`I do not like ${uriNames(chain[0]).join()}`);
          },
        },
        /do not like spiffe:\/\/cluster.local\/ns\/istio-system\/sa\/istiod/,
      ],
    ];
    for (const [name, tls, reason] of cases) {
      const follower = new Follower(t, { url, tls: () => tls });
      await follower.state('disconnected');
      const state = follower.states.find(({ kind }) => kind === 'disconnected');
      assert.match(state?.kind === 'disconnected' ? String(state.error) : '', reason, name);
    }
  });

  test('asks for roots and tokens at each connection, and follows a renewed certificate', async (t) => {
    const { url, show, server } = await serve(t);
    const next = await CertificateAuthority.create({ material: await createRoot() });
    let roots = authority.roots;
    let token = 'one';
    const follower = new Follower(t, { url, tls: () => ({ roots, serverName: host }), headers: () => ({ authorization: token }) });
    await follower.state('synced');
    show(await next.issueServing({ dnsNames: [host], uris: [] }));
    roots = next.roots;
    token = 'two';
    const before = follower.states.length;
    server.disconnectAll();
    await follower.state('synced', before);
    assert.deepEqual(
      [...server.connections()].map(({ caller }) => caller.headers.get('authorization')),
      ['two'],
    );
  });

  test('waits longer after each failure, and starts anew after a success', async (t) => {
    const { url, stop, start } = await serve(t);
    await stop();
    const follower = new Follower(t, { url, backoff: { initial: 10, max: 80 } });
    await follower.until(() => follower.states.filter(({ kind }) => kind === 'disconnected').length >= 5);
    const waits = follower.states.flatMap((state) => (state.kind === 'disconnected' ? [state.retryMs] : []));
    assert.ok((waits[0] ?? 0) <= 12 && (waits[4] ?? 0) >= 64 && (waits[4] ?? 0) <= 96, waits.join());
    await start();
    await follower.state('synced');
    const before = follower.states.length;
    await stop();
    await follower.state('disconnected', before);
    const again = follower.states.slice(before).find((state) => state.kind === 'disconnected');
    assert.ok(again !== undefined && again.retryMs <= 12);
  });
});
