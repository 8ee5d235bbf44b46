import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import http2 from 'node:http2';
import net, { type AddressInfo, type Socket } from 'node:net';
import { after, before, describe, test } from 'node:test';
import tls from 'node:tls';

import { TestAuthority } from './credentials.fixture.ts';
import { HboneServer, relayTunnel, TunnelPool, type IncomingConnect, type TlsCredentials, type TunnelKey } from './index.ts';

const clientIdentity = 'spiffe://cluster.local/ns/demo/sa/sleep';
const serverIdentity = 'spiffe://cluster.local/ns/demo/sa/default';

let authority: TestAuthority;
let clientCredentials: TlsCredentials;
let serverCredentials: TlsCredentials;
const stops: (() => Promise<unknown> | undefined)[] = [];

before(async () => {
  authority = await TestAuthority.create();
  clientCredentials = await authority.issue(clientIdentity);
  serverCredentials = await authority.issue(serverIdentity);
});
after(async () => {
  for (const stop of stops.reverse()) await stop();
});

/** Listens on loopback until the tests are over; all its connections are gone then. */
async function listen(server: net.Server): Promise<number> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined).once('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  stops.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
    return undefined;
  });
  return (server.address() as AddressInfo).port;
}

function pool(options: { credentials?: TlsCredentials; maxStreams?: number; idleTimeout?: number } = {}): TunnelPool {
  const made = new TunnelPool({
    credentials: () => Promise.resolve(options.credentials ?? clientCredentials),
    dial: async ({ host, port }, signal) => {
      const socket = net.connect({ host, port, signal });
      await once(socket, 'connect');
      return socket;
    },
    ...(options.maxStreams === undefined ? {} : { maxStreams: options.maxStreams }),
    ...(options.idleTimeout === undefined ? {} : { idleTimeout: options.idleTimeout }),
  });
  stops.push(() => made[Symbol.asyncDispose]());
  return made;
}

function key(port: number, expected = serverIdentity): TunnelKey {
  return { sourceIdentity: clientIdentity, sourceAddress: '127.0.0.1', expectedIdentities: [expected], host: '127.0.0.1', port };
}

/** Our server, on a real listener. */
async function hboneServer(
  onConnect: (request: IncomingConnect) => void,
  credentials = serverCredentials,
): Promise<{ port: number; server: HboneServer; refused: Error[] }> {
  const refused: Error[] = [];
  const server = new HboneServer({ credentials: () => Promise.resolve(credentials), onConnect, onRefused: (error) => refused.push(error) });
  const port = await listen(
    net.createServer({ allowHalfOpen: true }, (socket) => {
      server.handle(socket);
    }),
  );
  stops.push(() => server[Symbol.asyncDispose]());
  return { port, server, refused };
}

/** A request is answered with its own bytes. */
function echo(request: IncomingConnect): void {
  const stream = request.accept([]);
  stream.use({
    data: (chunk) => {
      stream.write(chunk);
      stream.consumed(chunk.length);
    },
    end: () => {
      stream.end();
    },
    room: () => undefined,
    closed: () => undefined,
  });
}

/** A connected pair of TCP sockets: what an application holds, and what the proxy relays. */
async function socketPair(): Promise<[application: Socket, proxied: Socket]> {
  const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true });
  const port = await listen(server);
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const application = net.connect({ host: '127.0.0.1', port, allowHalfOpen: true });
  application.on('error', () => undefined);
  return [application, (await accepted)[0]];
}

function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    if (socket.closed) resolve();
    else
      socket
        .on('error', () => undefined)
        .once('close', () => {
          resolve();
        });
  });
}

async function readAll(socket: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const digest = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

describe('our client and a node:http2 server', () => {
  function nodeServer(
    handler: (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => void,
    settings: http2.Settings = {},
  ): http2.Http2SecureServer {
    const server = http2.createSecureServer({
      cert: serverCredentials.certificateChain,
      key: serverCredentials.privateKey,
      ca: serverCredentials.roots,
      requestCert: true,
      settings: { enableConnectProtocol: false, ...settings },
    });
    server.on('stream', handler);
    server.on('sessionError', () => undefined);
    return server;
  }

  test('CONNECT, data both ways, half-close', async () => {
    let seen: http2.IncomingHttpHeaders = {};
    const port = await listen(
      nodeServer((stream, headers) => {
        seen = headers;
        stream.respond({ ':status': 200, baggage: 'k8s.cluster.name=c2' });
        // Answers only after the client's end: the answer shows that one half stayed open.
        void readAll(stream).then((request) => stream.end(`got ${request.toString()}`));
      }),
    );
    const { stream, headers } = await pool().connect(key(port), '10.0.0.1:80', [
      ['baggage', 'k8s.cluster.name=c1'],
      ['forwarded', 'for="10.9.9.9:1"'],
    ]);
    assert.deepEqual(
      headers.find(([name]) => name === 'baggage'),
      ['baggage', 'k8s.cluster.name=c2'],
    );
    const [application, proxied] = await socketPair();
    const relayed = relayTunnel(proxied, stream);
    application.end('hello');
    assert.equal((await readAll(application)).toString(), 'got hello');
    await relayed;
    assert.equal(seen[':method'], 'CONNECT');
    assert.equal(seen[':authority'], '10.0.0.1:80');
    assert.equal(seen['baggage'], 'k8s.cluster.name=c1');
    assert.equal(seen['forwarded'], 'for="10.9.9.9:1"');
  });

  test('16 MiB through windows of 64 KiB, both ways at once', async () => {
    const port = await listen(
      nodeServer((stream) => {
        stream.respond({ ':status': 200 });
        stream.pipe(stream);
      }),
    );
    const { stream } = await pool().connect(key(port), 'big:80', []);
    const [application, proxied] = await socketPair();
    const relayed = relayTunnel(proxied, stream);
    const body = Buffer.alloc(16 * 1024 * 1024, 'isthmus');
    application.end(body);
    assert.equal(digest(await readAll(application)), digest(body));
    await relayed;
  });

  test('40 streams on one connection, and a second connection when the peer allows no more', async () => {
    const sessions = new Set<unknown>();
    const port = await listen(
      nodeServer((stream) => {
        sessions.add(stream.session);
        stream.respond({ ':status': 200 });
        stream.pipe(stream);
      }),
    );
    const tunnels = pool({ maxStreams: 40 });
    const answers = await Promise.all(
      Array.from({ length: 41 }, async (_, index) => {
        const { stream } = await tunnels.connect(key(port), `host-${index}:80`, [['baggage', 'same']]);
        return { stream, index };
      }),
    );
    assert.equal(sessions.size, 2);
    assert.equal(tunnels.size, 2);
    await Promise.all(
      answers.map(async ({ stream, index }) => {
        const [application, proxied] = await socketPair();
        const relayed = relayTunnel(proxied, stream);
        application.end(`body ${index}`);
        assert.equal((await readAll(application)).toString(), `body ${index}`);
        await relayed;
      }),
    );
  });

  test('a status other than 200 is an error that tells it', async () => {
    const port = await listen(
      nodeServer((stream) => {
        stream.respond({ ':status': 503 }, { endStream: true });
      }),
    );
    await assert.rejects(pool().connect(key(port), 'a:1', []), { code: 'HBONE_STATUS', message: 'http status: 503 Service Unavailable' });
  });

  test('GOAWAY: open streams go on, new requests take a new connection', async () => {
    const sessions: http2.ServerHttp2Session[] = [];
    const port = await listen(
      nodeServer((stream) => {
        if (stream.session !== undefined) sessions.push(stream.session as http2.ServerHttp2Session);
        stream.respond({ ':status': 200 });
        stream.pipe(stream);
      }),
    );
    const tunnels = pool();
    const first = await tunnels.connect(key(port), 'a:1', []);
    sessions[0]?.goaway();
    // The round trip of the second request tells that GOAWAY, which was sent before, is here.
    const [application, proxied] = await socketPair();
    const relayed = relayTunnel(proxied, first.stream);
    application.write('1');
    await once(application, 'data');
    await tunnels.connect(key(port), 'b:1', []);
    assert.notEqual(sessions[1], sessions[0]);
    application.end('2');
    assert.equal((await readAll(application)).toString(), '2');
    await relayed;
  });

  test('a server with another identity is refused', async () => {
    const port = await listen(nodeServer(() => undefined));
    await assert.rejects(pool().connect(key(port, 'spiffe://cluster.local/ns/demo/sa/other'), 'a:1', []), {
      code: 'HBONE_PEER_IDENTITY',
      message: `identity verification error: peer did not present the expected SAN (spiffe://cluster.local/ns/demo/sa/other), got ${serverIdentity}`,
    });
  });

  test('a server under another root is refused', async () => {
    const port = await listen(nodeServer(() => undefined));
    const foreign = await (await TestAuthority.create()).issue(clientIdentity);
    await assert.rejects(pool({ credentials: foreign }).connect(key(port), 'a:1', []), { code: 'HBONE_TLS' });
  });

  test('a connection without streams is closed after its idle time', async () => {
    const server = nodeServer((stream) => {
      stream.respond({ ':status': 200 });
      stream.end();
    });
    const port = await listen(server);
    const session = once(server, 'session') as Promise<[http2.ServerHttp2Session]>;
    const { stream } = await pool({ idleTimeout: 40 }).connect(key(port), 'a:1', []);
    stream.use({
      data: () => undefined,
      end: () => {
        stream.end();
      },
      room: () => undefined,
      closed: () => undefined,
    });
    await once((await session)[0], 'close');
  });
});

describe('a node:http2 client and our server', () => {
  function nodeClient(port: number, credentials = clientCredentials): http2.ClientHttp2Session {
    const session = http2.connect('https://127.0.0.1', {
      createConnection: () =>
        tls.connect({
          port,
          host: '127.0.0.1',
          cert: credentials.certificateChain,
          key: credentials.privateKey,
          ca: credentials.roots,
          ALPNProtocols: ['h2'],
          checkServerIdentity: () => undefined,
        }),
    });
    session.on('error', () => undefined);
    stops.push(() => {
      session.destroy();
      return undefined;
    });
    return session;
  }

  async function statusOf(session: http2.ClientHttp2Session, headers: http2.OutgoingHttpHeaders): Promise<number | undefined> {
    const request = session.request(headers, { endStream: false });
    request.on('error', () => undefined);
    const [response] = (await once(request, 'response')) as [http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader];
    request.resume();
    await once(request, 'close');
    return response[':status'];
  }

  test('announces what upstream announces', async () => {
    const { port } = await hboneServer(echo);
    const session = nodeClient(port);
    const [settings] = (await once(session, 'remoteSettings')) as [http2.Settings];
    assert.equal(settings.maxConcurrentStreams, 200);
    assert.equal(settings.initialWindowSize, 4_194_304);
    assert.equal(settings.maxFrameSize, 1_048_576);
    assert.equal(settings.maxHeaderListSize, 65_536);
  });

  test('tells the request, echoes 8 MiB, and both sides end', async () => {
    let seen: IncomingConnect | undefined;
    const { port } = await hboneServer((request) => {
      seen = request;
      echo(request);
    });
    const request = nodeClient(port).request({ ':method': 'CONNECT', ':authority': '10.0.0.1:80', baggage: 'a=b' }, { endStream: false });
    const body = Buffer.alloc(8 * 1024 * 1024, 'abc');
    request.end(body);
    assert.equal(digest(await readAll(request)), digest(body));
    assert.equal(seen?.authority, '10.0.0.1:80');
    assert.equal(seen.peerIdentity, clientIdentity);
    assert.deepEqual(seen.headers.get('baggage'), ['a=b']);
    assert.equal(seen.remoteAddress, '127.0.0.1');
    assert.equal(seen.localPort, port);
  });

  test('refuses with a status, without breaking the connection', async () => {
    const { port } = await hboneServer((request) => {
      request.refuse(401);
    });
    const session = nodeClient(port);
    assert.equal(await statusOf(session, { ':method': 'CONNECT', ':authority': '10.0.0.1:80' }), 401);
    assert.equal(await statusOf(session, { ':method': 'GET', ':path': '/', ':scheme': 'https', ':authority': 'a' }), 400);
    assert.equal(await statusOf(session, { ':method': 'CONNECT', ':authority': '10.0.0.1:80' }), 401);
    assert.equal(session.destroyed, false);
  });

  test('holds a sender back while nobody takes the data', async () => {
    let opened: ((stream: ReturnType<IncomingConnect['accept']>) => void) | undefined;
    const accepted = new Promise<ReturnType<IncomingConnect['accept']>>((resolve) => {
      opened = resolve;
    });
    const { port } = await hboneServer((request) => opened?.(request.accept([])));
    const request = nodeClient(port).request({ ':method': 'CONNECT', ':authority': 'a:1' }, { endStream: false });
    request.on('error', () => undefined);
    await once(request, 'response');
    const stream = await accepted;
    const total = 12 * 1024 * 1024;
    request.end(Buffer.alloc(total));
    let received = 0;
    const full = Promise.withResolvers<undefined>();
    stream.use({
      data: (chunk) => {
        received += chunk.length;
        if (received === 4 * 1024 * 1024) full.resolve(undefined);
      },
      end: () => undefined,
      room: () => undefined,
      closed: () => undefined,
    });
    await full.promise;
    // A round trip later nothing more has come.
    await new Promise((resolve) => request.session?.ping(resolve as () => void));
    assert.equal(received, 4 * 1024 * 1024);
    stream.consumed(received);
    const more = Promise.withResolvers<undefined>();
    const before = received;
    stream.use({
      data: (chunk) => {
        received += chunk.length;
        stream.consumed(chunk.length);
      },
      end: () => {
        more.resolve(undefined);
      },
      room: () => undefined,
      closed: () => undefined,
    });
    await more.promise;
    assert.equal(before, 4 * 1024 * 1024);
    assert.equal(received, total);
  });

  test('drain: GOAWAY, open streams end in peace, then the connection closes', async () => {
    const { port, server } = await hboneServer(echo);
    const session = nodeClient(port);
    const request = session.request({ ':method': 'CONNECT', ':authority': 'a:1' }, { endStream: false });
    await once(request, 'response');
    server.drain();
    await once(session, 'goaway');
    request.end('still here');
    assert.equal((await readAll(request)).toString(), 'still here');
    if (!session.destroyed) await once(session, 'close');
    assert.equal(server.connections, 0);
  });

  test('a client of another trust domain gets nowhere', async () => {
    const { port, refused } = await hboneServer(echo);
    const session = nodeClient(port, await authority.issue('spiffe://elsewhere/ns/demo/sa/sleep'));
    await once(session, 'close');
    assert.equal(
      refused[0]?.message,
      'identity verification error: peer did not present the expected trustdomain (cluster.local), got spiffe://elsewhere/ns/demo/sa/sleep',
    );
  });

  test('a client without a certificate gets nowhere', async () => {
    const { port, refused } = await hboneServer(echo);
    const socket = tls.connect({
      port,
      host: '127.0.0.1',
      ca: authority.roots,
      ALPNProtocols: ['h2'],
      checkServerIdentity: () => undefined,
    });
    socket.resume();
    await closed(socket);
    assert.equal((refused[0] as { code?: string } | undefined)?.code, 'HBONE_TLS');
  });
});

describe('our client and our server', () => {
  test('a broken connection breaks its streams and resets the application', async () => {
    const { port, server } = await hboneServer(echo);
    const { stream } = await pool().connect(key(port), 'a:1', []);
    const [application, proxied] = await socketPair();
    const relayed = relayTunnel(proxied, stream);
    application.write('x');
    await once(application, 'data');
    const reset = once(application, 'error') as Promise<[NodeJS.ErrnoException]>;
    await server[Symbol.asyncDispose]();
    await assert.rejects(relayed, { code: 'HBONE_CONNECTION_LOST' });
    assert.equal((await reset)[0].code, 'ECONNRESET');
  });

  test('an abort ends both sides at once', async () => {
    const { port } = await hboneServer(echo);
    const { stream } = await pool().connect(key(port), 'a:1', []);
    const [application, proxied] = await socketPair();
    const abort = new AbortController();
    const relayed = relayTunnel(proxied, stream, { signal: abort.signal });
    application.write('x');
    await once(application, 'data');
    abort.abort(new Error('policy'));
    await assert.rejects(relayed, /policy/);
    await closed(application);
  });

  test('an application that resets ends the tunnel without an error', async () => {
    const ended = Promise.withResolvers<undefined>();
    const { port } = await hboneServer((request) => {
      const stream = request.accept([]);
      stream.use({
        data: (chunk) => {
          stream.write(chunk);
          stream.consumed(chunk.length);
        },
        end: () => undefined,
        room: () => undefined,
        closed: (error) => {
          if (error === undefined) ended.resolve(undefined);
          else ended.reject(error);
        },
      });
    });
    const { stream } = await pool().connect(key(port), 'a:1', []);
    const [application, proxied] = await socketPair();
    const relayed = relayTunnel(proxied, stream);
    application.write('x');
    await once(application, 'data');
    application.resetAndDestroy();
    await relayed;
    await ended.promise;
  });
});
