import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import https from 'node:https';
import net from 'node:net';
import { test } from 'node:test';

import { TestServer } from './testing/test-server.ts';

test('the end of the server is the end of every connection: in TLS, watching, upgraded', { timeout: 20_000 }, async () => {
  const server = await TestServer.start();
  const before = net.connect(server.port, '127.0.0.1');
  await once(before, 'connect');
  const { ca, admin } = server.pki;
  const agent = new https.Agent({ ca, cert: admin.certificate, key: admin.key, keepAlive: true });
  const watch = https.get({ host: '127.0.0.1', port: server.port, agent, path: '/api/v1/pods?watch=true&allowWatchBookmarks=true' });
  const [answer] = (await once(watch, 'response')) as [IncomingMessage];
  assert.equal(answer.statusCode, 200);
  // A command in a pod, whose node has taken the connection and says nothing.
  const node = net.createServer().listen(0, '127.0.0.1');
  await once(node, 'listening');
  const asked = once(node, 'connection') as Promise<[net.Socket]>;
  await server.json('POST', '/api/v1/nodes', {
    metadata: { name: 'n' },
    status: {
      addresses: [{ type: 'InternalIP', address: '127.0.0.1' }],
      daemonEndpoints: { kubeletEndpoint: { Port: (node.address() as net.AddressInfo).port } },
    },
  });
  await server.json('POST', '/api/v1/namespaces/default/serviceaccounts', { metadata: { name: 'default' } });
  const spec = { nodeName: 'n', containers: [{ name: 'c', image: 'i' }] };
  assert.equal((await server.json('POST', '/api/v1/namespaces/default/pods', { metadata: { name: 'p' }, spec })).status, 201);
  const exec = https.get({
    ...{ host: '127.0.0.1', port: server.port, agent, path: '/api/v1/namespaces/default/pods/p/exec?command=true&stdout=true' },
    headers: { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-protocol': 'v5.channel.k8s.io' },
  });
  exec.on('error', () => undefined);
  const [toNode] = await asked;
  const closed = [before, answer, exec, toNode].map((stream) => {
    stream.on('error', () => undefined);
    if ('resume' in stream) stream.resume();
    return new Promise((resolve) => stream.once('close', resolve));
  });
  await server[Symbol.asyncDispose]();
  await Promise.all(closed);
  agent.destroy();
  node.close();
});
