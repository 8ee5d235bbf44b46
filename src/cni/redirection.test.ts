import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { after, afterEach, before, suite, test } from 'node:test';

import { NetworkNamespace, bindUdp, connectTcp, listenTcp, originalDestination, runCommand } from '../linux/index.ts';
import { namespacePair, type Pair } from '../../test/support/namespaces.ts';
import { HostProbes } from './host-probes.ts';
import { installRedirection, removeRedirection, tables, type RedirectionOptions } from './redirection.ts';

const probeAddresses = { ipv4: '169.254.7.127', ipv6: 'fd16:9254:7127:1337:ffff:ffff:ffff:ffff' };
const options: RedirectionOptions = { dns: true, inbound: true, ipv6: true, probeAddresses, virtualInterfaces: [] };
const mark = 0x539;

/** What reached a listener: who came, and where they were going. */
interface Seen {
  readonly port: number;
  readonly from: string;
  readonly to: string;
}

/** In `pair`, a is the node (or a client elsewhere) and b the pod. */
suite("redirection in a pod's namespace", () => {
  let pair: Pair;
  let seen: Seen[];
  const closing: (() => void)[] = [];

  before(async () => {
    pair = await namespacePair();
  });
  after(() => {
    pair[Symbol.dispose]();
  });
  afterEach(async () => {
    for (const close of closing.splice(0)) close();
    await removeRedirection(pair.b);
  });

  /** Listens and answers every connection with the port's number. */
  async function listen(namespace: NetworkNamespace, port: number, asProxy = false): Promise<void> {
    const sockets = new Set<Socket>();
    const server = createServer((socket) => {
      sockets.add(socket.on('error', () => undefined));
      const to = originalDestination(socket);
      const from = (socket.remoteAddress ?? '').replace('::ffff:', '');
      seen.push({ port, from, to: to === undefined ? '' : `${to.address} ${to.port}` });
      socket.end(String(port));
    });
    server.listen({ fd: listenTcp({ namespace, host: '::', port, ...(asProxy ? { mark, transparent: true } : {}) }), backlog: 128 });
    await once(server, 'listening');
    closing.push(() => {
      server.close();
      for (const socket of sockets) socket.destroy();
    });
  }

  /** ztunnel's ports and an application on 8080 in the pod, a server on 8080 outside of it. */
  async function start(changes: Partial<RedirectionOptions> = {}): Promise<void> {
    seen = [];
    await installRedirection(pair.b, { ...options, ...changes });
    for (const port of [15001, 15006, 15008, 15053]) await listen(pair.b, port, true);
    await listen(pair.b, 8080);
    await listen(pair.a, 8080);
  }

  /** Which port answers a connection, or the error. */
  async function ask(
    namespace: NetworkNamespace,
    host: string,
    port: number,
    extra: { mark?: number; sourceAddress?: string } = {},
  ): Promise<string> {
    try {
      const socket = await connectTcp({ namespace, host, port, timeout: 1000, ...extra });
      let text = '';
      for await (const chunk of socket) text += String(chunk);
      return text;
    } catch (error) {
      return (error as { errno?: string; code: string }).errno ?? (error as { code: string }).code;
    }
  }

  for (const [family, node, pod, loopback] of [
    ['IPv4', '192.0.2.1', '192.0.2.2', '127.0.0.1'],
    ['IPv6', '2001:db8::1', '2001:db8::2', '::1'],
  ] as const) {
    suite(family, () => {
      test('what the pod sends goes to 15001, with its destination', async () => {
        await start();
        assert.equal(await ask(pair.b, node, 8080), '15001');
        assert.deepEqual(seen, [{ port: 15001, from: pod, to: `${node} 8080` }]);
      });

      test('what ztunnel sends goes out', async () => {
        await start();
        assert.equal(await ask(pair.b, node, 8080, { mark }), '8080');
        assert.equal(seen[0]?.from, pod);
      });

      test('what comes in goes to 15006, HBONE to 15008', async () => {
        await start();
        assert.equal(await ask(pair.a, pod, 8080), '15006');
        assert.equal(await ask(pair.a, pod, 15008), '15008');
        assert.deepEqual(seen[0], { port: 15006, from: node, to: `${pod} 8080` });
      });

      test('the loopback and the own address stay inside', async () => {
        await start();
        assert.equal(await ask(pair.b, loopback, 8080), '8080');
        assert.equal(await ask(pair.b, pod, 8080), '8080');
      });

      test('ztunnel reaches the application with the address of a client elsewhere', async () => {
        await start();
        const elsewhere = family === 'IPv4' ? '198.51.100.77' : '2001:db8:77::77';
        assert.equal(await ask(pair.b, pod, 8080, { mark, sourceAddress: elsewhere }), '8080');
        assert.deepEqual(seen, [{ port: 8080, from: elsewhere, to: `${pod} 8080` }]);
      });

      test('DNS over TCP goes to 15053; without DNS capture to 15001', async () => {
        await start();
        assert.equal(await ask(pair.b, node, 53), '15053');
        await installRedirection(pair.b, { ...options, dns: false });
        assert.equal(await ask(pair.b, node, 53), '15001');
      });

      test('DNS over UDP goes to 15053, and ztunnel asks the same server from the same port', async () => {
        await start();
        const proxy = bindUdp({ namespace: pair.b, host: loopback, port: 15053, mark });
        const server = bindUdp({ namespace: pair.a, host: node, port: 53 });
        const client = bindUdp({ namespace: pair.b, host: pod, port: 5353 });
        // The worst case for connection tracking: the proxy's query has the addresses and ports of the client's.
        const upstream = bindUdp({ namespace: pair.b, host: pod, port: 0, mark });
        closing.push(() => [proxy, server, client, upstream].forEach((socket) => socket.close()));
        server.on('message', (question, remote) => server.send(`answer to ${String(question)}`, remote.port, remote.address));
        proxy.on('message', (question, remote) => {
          upstream.send(question, 53, node);
          upstream.once('message', (answer) => proxy.send(answer, remote.port, remote.address));
        });
        for (const question of ['first', 'second']) {
          client.send(question, 53, node);
          const [answer, remote] = (await once(client, 'message')) as [Buffer, { address: string; port: number }];
          assert.equal(String(answer), `answer to ${question}`);
          assert.deepEqual([remote.address, remote.port], [node, 53], 'the answer comes from the server that was asked');
        }
      });

      test("the node's probes pass untouched, those of others do not", async () => {
        const probes = new HostProbes(pair.a, probeAddresses);
        await probes.install([]);
        try {
          await start();
          assert.equal(await ask(pair.a, pod, 8080), '15006');
          await probes.add('uid-1', [pod]);
          assert.equal(await ask(pair.a, pod, 8080), '8080');
          assert.equal(seen.at(-1)?.from, family === 'IPv4' ? probeAddresses.ipv4 : probeAddresses.ipv6);
          // The address moves to another pod before the first one is forgotten.
          await probes.add('uid-2', [pod]);
          await probes.delete('uid-1');
          assert.equal(await ask(pair.a, pod, 8080), '8080');
          await probes.delete('uid-2');
          assert.equal(await ask(pair.a, pod, 8080), '15006');
          await probes.install([{ uid: 'uid-3', addresses: [pod] }]);
          assert.equal(await ask(pair.a, pod, 8080), '8080');
        } finally {
          await probes.uninstall();
        }
        assert.equal(await runCommand('nft', ['list', 'tables'], { namespace: pair.a }), '');
      });

      test('an ingress takes what comes in itself', async () => {
        await start({ inbound: false, dns: false });
        assert.equal(await ask(pair.a, pod, 8080), '8080');
        assert.equal(await ask(pair.b, node, 8080), '15001');
      });
    });
  }

  test('installing twice is installing once, and removing leaves nothing', async () => {
    const state = async (): Promise<string> =>
      (
        await Promise.all([
          runCommand('nft', ['-s', 'list', 'ruleset'], { namespace: pair.b }),
          ...['-4', '-6'].map((family) =>
            runCommand('sh', ['-c', `ip ${family} rule; ip ${family} route show table 100 2>/dev/null || true`], { namespace: pair.b }),
          ),
        ])
      ).join('\n');
    const before = await state();
    await installRedirection(pair.b, options);
    const once = await state();
    await installRedirection(pair.b, options);
    assert.equal(await state(), once);
    for (const table of Object.values(tables)) assert.match(once, new RegExp(`table inet ${table} `));
    await removeRedirection(pair.b);
    assert.equal(await state(), before);
    await removeRedirection(pair.b);
    assert.equal(await state(), before);
  });

  test('connections that are open when the pod is enrolled go on, in and out', async () => {
    const echo = (namespace: NetworkNamespace): void => {
      const server = createServer((socket) => socket.on('error', () => undefined).pipe(socket));
      server.listen({ fd: listenTcp({ namespace, host: '::', port: 8081 }), backlog: 128 });
      closing.push(() => server.close());
    };
    echo(pair.a);
    echo(pair.b);
    const sockets = await Promise.all([
      connectTcp({ namespace: pair.a, host: '192.0.2.2', port: 8081 }),
      connectTcp({ namespace: pair.b, host: '192.0.2.1', port: 8081 }),
    ]);
    closing.push(() => sockets.forEach((socket) => socket.destroy()));
    await start();
    for (const socket of sockets) {
      socket.resume().write('still there?');
      const [chunk] = (await once(socket, 'data')) as [Buffer];
      assert.equal(String(chunk), 'still there?');
    }
  });

  test('without IPv6 in the pod only IPv4 is redirected', async () => {
    using lonely = NetworkNamespace.create();
    await runCommand(
      'sh',
      ['-c', 'ip link set lo up; echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6; echo 1 > /proc/sys/net/ipv6/conf/lo/disable_ipv6'],
      { namespace: lonely },
    );
    await installRedirection(lonely, options);
    assert.doesNotMatch(await runCommand('nft', ['list', 'ruleset'], { namespace: lonely }), /ip6/);
    await removeRedirection(lonely);
  });

  test('a virtual interface sends to 15001; a bad name is refused', async () => {
    await installRedirection(pair.b, { ...options, virtualInterfaces: ['tap0'] });
    assert.match(await runCommand('nft', ['list', 'ruleset'], { namespace: pair.b }), /iifname "tap0" .*redirect to :15001/);
    await assert.rejects(installRedirection(pair.b, { ...options, virtualInterfaces: ['x"; drop'] }), { code: 'CNI_REDIRECTION' });
  });
});
