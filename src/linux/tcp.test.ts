import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { after, before, suite, test } from 'node:test';

import {
  NetworkNamespace,
  SyscallError,
  applyNftables,
  bindUdp,
  connectTcp,
  listenTcp,
  originalDestination,
  type SocketAddress,
} from './index.ts';
import { ip, namespacePair, type Pair } from '../../test/support/namespaces.ts';

interface Seen {
  readonly from: string | undefined;
  readonly to: SocketAddress | undefined;
}

/** An echo server in a namespace that remembers who came and where they were going. */
async function echo(
  namespace: NetworkNamespace,
  host: string,
  port: number,
  options: { mark?: number; transparent?: boolean } = {},
): Promise<{ seen: Seen[]; port: number } & Disposable> {
  const seen: Seen[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    seen.push({ from: socket.remoteAddress, to: originalDestination(socket) });
    socket.on('error', () => undefined).pipe(socket);
  });
  server.listen({ fd: listenTcp({ namespace, host, port, ...options }) }, 128);
  await once(server, 'listening');
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  return {
    seen,
    port: address.port,
    [Symbol.dispose]: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

async function answer(socket: Socket, text: string): Promise<string> {
  socket.end(text);
  let all = '';
  for await (const chunk of socket) all += String(chunk);
  return all;
}

suite('TCP between two namespaces', () => {
  let pair: Pair;
  before(async () => {
    pair = await namespacePair();
  });
  after(() => {
    pair[Symbol.dispose]();
  });

  for (const [name, host, target] of [
    ['IPv4', '0.0.0.0', '192.0.2.2'],
    ['IPv6', '::', '2001:db8::2'],
    ['IPv4 to a dual-stack listener', '::', '192.0.2.2'],
  ] as const) {
    test(name, async () => {
      using server = await echo(pair.b, host, 0);
      const socket = await connectTcp({ namespace: pair.a, host: target, port: server.port });
      assert.equal(socket.remoteAddress, target);
      assert.equal(await answer(socket, 'hello'), 'hello');
    });
  }

  test('nothing is read before its user reads, and half-open is kept', async () => {
    const server = createServer({ allowHalfOpen: true }, (socket) => socket.end('first words'));
    server.listen({ fd: listenTcp({ namespace: pair.b, host: '192.0.2.2', port: 7001 }) }, 128);
    const socket = await connectTcp({ namespace: pair.a, host: '192.0.2.2', port: 7001, allowHalfOpen: true });
    assert.ok(socket.isPaused());
    let text = '';
    socket.on('data', (chunk) => (text += String(chunk)));
    socket.resume();
    await once(socket, 'end');
    assert.equal(text, 'first words');
    assert.ok(socket.writable);
    socket.destroy();
    server.close();
  });

  test('refusal carries the code and the errno', async () => {
    await assert.rejects(connectTcp({ namespace: pair.a, host: '192.0.2.2', port: 9 }), (error) => {
      assert.ok(error instanceof SyscallError);
      assert.equal(error.code, 'LINUX_SYSCALL');
      assert.equal(error.errno, 'ECONNREFUSED');
      assert.equal(error.errnoNumber, 111);
      assert.equal(error.message, 'connect to 192.0.2.2:9: connect: ECONNREFUSED');
      return true;
    });
  });

  test('an unreachable network is told at once', async () => {
    using lonely = NetworkNamespace.create();
    await ip(lonely, ['link set lo up']);
    await assert.rejects(connectTcp({ namespace: lonely, host: '192.0.2.2', port: 9 }), { errno: 'ENETUNREACH' });
    await assert.rejects(connectTcp({ namespace: lonely, host: '2001:db8::2', port: 9 }), { errno: 'ENETUNREACH' });
  });

  test('time runs out, and the signal ends it', async () => {
    await applyNftables(pair.b, 'add table inet t { chain in { type filter hook input priority 0; tcp dport 7002 drop; }; }');
    try {
      await assert.rejects(connectTcp({ namespace: pair.a, host: '192.0.2.2', port: 7002, timeout: 100 }), { code: 'ISTHMUS_TIMEOUT' });
      const stop = new AbortController();
      const attempt = connectTcp({ namespace: pair.a, host: '192.0.2.2', port: 7002, signal: stop.signal });
      stop.abort(new Error('no longer wanted'));
      await assert.rejects(attempt, /no longer wanted/);
    } finally {
      await applyNftables(pair.b, 'delete table inet t');
    }
  });

  test('a taken port, and two listeners that share one', async () => {
    const first = await echo(pair.b, '0.0.0.0', 7003);
    assert.throws(() => listenTcp({ namespace: pair.b, host: '0.0.0.0', port: 7003 }), { errno: 'EADDRINUSE' });
    first[Symbol.dispose]();
    const servers = [1, 2].map(() => createServer((socket) => socket.end()));
    for (const server of servers)
      server.listen({ fd: listenTcp({ namespace: pair.b, host: '0.0.0.0', port: 7004, reusePort: true }) }, 128);
    for (const server of servers) server.close();
  });

  test('a redirected connection tells where it was going, IPv4 and IPv6', async () => {
    using proxy = await echo(pair.b, '::', 15006);
    await applyNftables(
      pair.b,
      'add table inet t { chain pre { type nat hook prerouting priority dstnat; tcp dport 8080 redirect to :15006; }; }',
    );
    for (const host of ['192.0.2.2', '2001:db8::2']) {
      await answer(await connectTcp({ namespace: pair.a, host, port: 8080 }), 'x');
      await answer(await connectTcp({ namespace: pair.a, host, port: 15006 }), 'x');
    }
    assert.deepEqual(
      proxy.seen.map(({ to }) => to),
      [
        { address: '192.0.2.2', port: 8080 },
        { address: '192.0.2.2', port: 15006 },
        { address: '2001:db8::2', port: 8080 },
        { address: '2001:db8::2', port: 15006 },
      ],
    );
    await applyNftables(pair.b, 'delete table inet t');
  });

  test('a foreign source address is kept, over many connections', async () => {
    // As in a pod: the proxy's marked packets mark their connection, whose answers are routed back to it.
    await applyNftables(
      pair.b,
      `add table inet m {
      chain pre { type filter hook prerouting priority mangle; meta mark 0x539 ct mark set 0x111; }
      chain out { type route hook output priority mangle; ct mark 0x111 meta mark set ct mark; }
    }`,
    );
    await ip(pair.b, [
      'rule add fwmark 0x111/0xfff pref 32764 lookup 100',
      'route add local 0.0.0.0/0 dev lo table 100',
      '-6 rule add fwmark 0x111/0xfff pref 32764 lookup 100',
      '-6 route add local ::/0 dev lo table 100',
    ]);
    using application = await echo(pair.b, '::', 7005);
    for (const [host, sourceAddress] of [
      ['192.0.2.2', '198.51.100.7'],
      ['2001:db8::2', '2001:db8:7::7'],
    ] as const) {
      application.seen.length = 0;
      await Promise.all(
        Array.from({ length: 100 }, async () => {
          const socket = await connectTcp({
            namespace: pair.b,
            host,
            port: 7005,
            sourceAddress,
            mark: 0x539,
            keepAlive: { time: 180, interval: 180, retries: 9 },
            userTimeout: 10_000,
          });
          assert.equal(await answer(socket, 'spoofed'), 'spoofed');
        }),
      );
      assert.equal(application.seen.length, 100);
      assert.ok(
        application.seen.every(({ from }) => from?.replace('::ffff:', '') === sourceAddress),
        JSON.stringify(application.seen[0]),
      );
    }
  });

  test('UDP in a namespace', async () => {
    for (const host of ['127.0.0.1', '::1']) {
      const server = bindUdp({ namespace: pair.b, host, port: 15053 });
      server.on('message', (message, remote) => server.send(`re: ${String(message)}`, remote.port, remote.address));
      const client = bindUdp({ namespace: pair.b, host, port: 0, mark: 7 });
      client.send('question', 15053, host);
      const [message] = (await once(client, 'message')) as [Buffer];
      assert.equal(String(message), 're: question');
      assert.throws(() => bindUdp({ namespace: pair.b, host, port: 15053 }), { errno: 'EADDRINUSE' });
      client.close();
      server.close();
    }
  });
});
