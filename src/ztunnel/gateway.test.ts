import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import net, { type AddressInfo, type Server, type Socket } from 'node:net';
import { test } from 'node:test';

import { createLogger } from '../core/index.ts';
import { startGateway, type Gateway } from './gateway.ts';

const log = createLogger('test');

async function listen(onConnection: (socket: Socket) => void): Promise<{ server: Server; port: number } & AsyncDisposable> {
  const server = net.createServer({ allowHalfOpen: true }, onConnection);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    server,
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: () => {
      server.close();
      return Promise.resolve();
    },
  };
}

function gateway(port: number): Promise<Gateway> {
  return startGateway({
    peeringAddress: { host: 'localhost', port },
    ports: { control: 0, hbone: 0, readiness: 0, stats: 0 },
    host: '127.0.0.1',
    log,
    drainDeadlineMs: 1_000,
  });
}

async function metric(open: Gateway, name: string, port: string): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${open.ports.stats}/metrics`)).text();
  const line = text.split('\n').find((candidate) => candidate.startsWith(`${name}{port="${port}"}`));
  return Number(line?.split(' ')[1]);
}

test('the control port passes bytes on untouched, both ways, each half closed by itself', async () => {
  await using peering = await listen((socket) => {
    const hash = createHash('sha256');
    socket.on('data', (chunk) => hash.update(chunk));
    // Answers after the client's end: the way back stays open.
    socket.on('end', () => socket.end(hash.digest('hex')));
  });
  await using open = await gateway(peering.port);
  const body = randomBytes(5 * 1024 * 1024);
  const client = net.connect({ port: open.ports.control, host: '127.0.0.1', allowHalfOpen: true });
  client.end(body);
  let answer = '';
  for await (const chunk of client.setEncoding('utf8')) answer += String(chunk);
  assert.equal(answer, createHash('sha256').update(body).digest('hex'));
  assert.equal(await metric(open, 'isthmus_gateway_received_bytes_total', 'control'), body.length);
  assert.equal(await metric(open, 'isthmus_gateway_sent_bytes_total', 'control'), 64);
  assert.equal(await metric(open, 'isthmus_gateway_connections_opened_total', 'hbone'), 0);
});

test('a sender is held back while the peering service does not read', async () => {
  await using peering = await listen((socket) => socket.pause());
  await using open = await gateway(peering.port);
  const client = net.connect({ port: open.ports.control, host: '127.0.0.1' });
  client.on('error', () => undefined);
  await once(client, 'connect');
  let sent = 0;
  const chunk = Buffer.alloc(1024 * 1024);
  // Writes until nothing is taken any more: the buffers of three sockets, and no more than that.
  for (; sent < 256; sent++) {
    if (client.write(chunk)) continue;
    const drained = await Promise.race([
      once(client, 'drain').then(() => true),
      new Promise<boolean>((resolve) => setTimeout(resolve, 300, false)),
    ]);
    if (!drained) break;
  }
  assert.ok(sent < 64, `${sent} MiB were taken`);
  client.destroy();
});

test('a peering service that is away closes the connection, and is tried anew for the next', async () => {
  const first = await listen((socket) => socket.end('one'));
  const { port } = first;
  await using open = await gateway(port);
  await first[Symbol.asyncDispose]();
  const refused = net.connect({ port: open.ports.control, host: '127.0.0.1' }).on('error', () => undefined);
  await new Promise<void>((resolve) =>
    refused.resume().once('close', () => {
      resolve();
    }),
  );
  assert.equal(await metric(open, 'isthmus_gateway_connections_failed_total', 'control'), 1);
  const server = net.createServer((socket) => socket.on('error', () => undefined).end('two')).listen(port, '127.0.0.1');
  await once(server, 'listening');
  let answer = '';
  for await (const chunk of net.connect({ port: open.ports.control, host: '127.0.0.1' }).setEncoding('utf8')) answer += String(chunk);
  assert.equal(answer, 'two');
  server.close();
});

test('HBONE is refused and counted', async () => {
  await using peering = await listen((socket) => socket.destroy());
  await using open = await gateway(peering.port);
  const client = net.connect({ port: open.ports.hbone, host: '127.0.0.1' });
  const [error] = (await once(client, 'error')) as [NodeJS.ErrnoException];
  assert.equal(error.code, 'ECONNRESET');
  assert.equal(await metric(open, 'isthmus_gateway_connections_refused_total', 'hbone'), 1);
});

test('ready until it drains; open connections may end first', async () => {
  await using peering = await listen((socket) => socket.pipe(socket));
  const open = await gateway(peering.port);
  const ready = async (): Promise<string> => (await fetch(`http://127.0.0.1:${open.ports.readiness}/healthz/ready`)).text();
  assert.equal(await ready(), 'ready\n');
  const client = net.connect({ port: open.ports.control, host: '127.0.0.1' });
  client.write('x');
  await once(client.resume(), 'data');
  const drained = open.drain();
  assert.equal(await ready(), 'not ready, pending: draining\n');
  client.end();
  await drained;
  await assert.rejects(ready());
});
