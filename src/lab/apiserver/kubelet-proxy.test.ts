import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import https from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { TLSSocket } from 'node:tls';

import { WebSocketServer } from 'ws';

import { execInPod, KubeClient } from '../../kube/index.ts';
import { clusterPkiFiles } from './index.ts';
import { TestServer } from './testing/test-server.ts';

/** What a kubelet serves, for two containers: a log with three lines, and commands that say what they were asked. */
class StandInKubelet implements AsyncDisposable {
  readonly requests: string[] = [];
  readonly #server: https.Server;

  constructor(stateDir: string) {
    const files = clusterPkiFiles(stateDir);
    this.#server = https.createServer({
      ca: readFileSync(files.ca),
      cert: readFileSync(files.kubelet),
      key: readFileSync(files.kubeletKey),
      requestCert: true,
      rejectUnauthorized: true,
    });
    const sockets = new WebSocketServer({ noServer: true, handleProtocols: (offered) => [...offered][0] ?? false });
    this.#server.on('request', (request, response) => {
      this.#note(request.url, request.socket);
      if (request.url?.includes('previous=true')) {
        response.writeHead(400, { 'content-type': 'text/plain' });
        response.end('previous terminated container "c" in pod "p" not found');
        return;
      }
      response.writeHead(200, { 'content-type': 'text/plain' });
      response.write('one\ntwo\n');
      // A followed log is open until the reader goes.
      if (!request.url?.includes('follow=true')) response.end('three\n');
    });
    this.#server.on('upgrade', (request, socket, head) => {
      this.#note(request.url, request.socket);
      if (request.url?.includes('/gone?')) {
        const text = 'unable to upgrade connection: container not found ("gone")';
        socket.end(`HTTP/1.1 404 Not Found\r\ncontent-length: ${text.length}\r\nconnection: close\r\n\r\n${text}`);
        return;
      }
      sockets.handleUpgrade(request, socket, head, (connection) => {
        const command = new URL(request.url ?? '', 'https://node').searchParams.getAll('command');
        connection.send(Buffer.concat([Buffer.from([1]), Buffer.from(`${command.join(' ')}\n`)]));
        connection.send(Buffer.concat([Buffer.from([2]), Buffer.from('warning\n')]));
        const status = { status: 'Failure', reason: 'NonZeroExitCode', details: { causes: [{ reason: 'ExitCode', message: '7' }] } };
        connection.send(Buffer.concat([Buffer.from([3]), Buffer.from(JSON.stringify(status))]));
        connection.close(1000);
      });
    });
  }

  async listen(): Promise<number> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return (this.#server.address() as AddressInfo).port;
  }

  #note(url: string | undefined, socket: Socket): void {
    assert.ok(socket instanceof TLSSocket);
    this.requests.push(`${(socket.getPeerCertificate().subject as { CN: string }).CN} ${url ?? ''}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, 'close');
  }
}

describe('logs and exec go through to the node', () => {
  let server: TestServer;
  let kubelet: StandInKubelet;
  let client: KubeClient;

  before(async () => {
    server = await TestServer.start();
    kubelet = new StandInKubelet(server.stateDir);
    const port = await kubelet.listen();
    const { ca, admin } = server.pki;
    client = new KubeClient({
      ...{ server: `https://127.0.0.1:${server.port}`, ca, cert: admin.certificate, key: admin.key },
      ...{ namespace: 'default', context: 'test' },
    });
    await server.json('POST', '/api/v1/nodes', {
      metadata: { name: 'n' },
      status: { addresses: [{ type: 'InternalIP', address: '127.0.0.1' }], daemonEndpoints: { kubeletEndpoint: { Port: port } } },
    });
    await server.json('POST', '/api/v1/namespaces/default/serviceaccounts', { metadata: { name: 'default' } });
    for (const [name, containers] of [
      ['p', ['c']],
      ['two', ['a', 'b']],
      ['gone', ['gone']],
    ] as const) {
      const spec = { nodeName: 'n', containers: containers.map((container) => ({ name: container, image: 'i' })) };
      const { status } = await server.json('POST', '/api/v1/namespaces/default/pods', { metadata: { name }, spec });
      assert.equal(status, 201);
    }
    await server.json('POST', '/api/v1/namespaces/default/pods', {
      metadata: { name: 'unbound' },
      spec: { containers: [{ name: 'c', image: 'i' }] },
    });
  });
  after(async () => {
    client[Symbol.dispose]();
    await kubelet[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });

  const log = async (pod: string, query = ''): Promise<{ status: number; text: string }> =>
    await server.call({ method: 'GET', path: `/api/v1/namespaces/default/pods/${pod}/log?${query}` });

  test("a log, with the parameters that the node understands and the server's own certificate", async () => {
    const { status, text } = await log('p', 'tailLines=3&timestamps=true&container=c&pretty=true');
    assert.equal(status, 200);
    assert.equal(text, 'one\ntwo\nthree\n');
    assert.equal(kubelet.requests.at(-1), 'system:apiserver /containerLogs/default/p/c?tailLines=3&timestamps=true');
  });

  test('a followed log comes as it is written', { timeout: 5000 }, async () => {
    const response = await client.openLogs({ namespace: 'default', name: 'p' }, { follow: true });
    const [chunk] = (await once(response, 'data')) as [Buffer];
    assert.match(chunk.toString(), /^one/);
    response.destroy();
  });

  test('a command: its arguments, both of its streams and its exit code', async () => {
    const result = await execInPod(client, { namespace: 'default', name: 'p' }, ['echo', 'a b', '&c']);
    assert.deepEqual(result, { exitCode: 7, stdout: 'echo a b &c\n', stderr: 'warning\n' });
    assert.equal(kubelet.requests.at(-1), 'system:apiserver /exec/default/p/c?output=1&error=1&command=echo&command=a+b&command=%26c');
  });

  test('what the node refuses is an error of the API', async () => {
    const { status, text } = await log('p', 'previous=true');
    assert.equal(status, 400);
    assert.equal((JSON.parse(text) as { message: string }).message, 'previous terminated container "c" in pod "p" not found');
    await assert.rejects(execInPod(client, { namespace: 'default', name: 'gone' }, ['true']));
  });

  const refused: readonly (readonly [name: string, pod: string, query: string, code: number, message: string])[] = [
    ['a pod that is not there', 'nope', '', 404, 'pods "nope" not found'],
    ['no container named where there are two', 'two', '', 400, 'a container name must be specified for pod two, choose one of: [a b]'],
    ['a container that the pod does not have', 'two', 'container=z', 400, 'container z is not valid for pod two'],
  ];
  for (const [name, pod, query, code, message] of refused) {
    test(name, async () => {
      const { status, text } = await log(pod, query);
      assert.equal(status, code);
      assert.equal((JSON.parse(text) as { message: string }).message, message);
    });
  }

  test('a pod without a node has an empty log and runs no commands', async () => {
    assert.deepEqual(await log('unbound').then(({ status, text }) => ({ status, text })), { status: 200, text: '' });
    await assert.rejects(execInPod(client, { namespace: 'default', name: 'unbound' }, ['true']));
  });

  test('who may not, does not', async () => {
    const before = kubelet.requests.length;
    const answer = await server.call({ method: 'GET', path: '/api/v1/namespaces/default/pods/p/log', anonymous: true });
    assert.equal(answer.status, 403);
    const { ca } = server.pki;
    using nobody = new KubeClient({ server: `https://127.0.0.1:${server.port}`, ca, namespace: 'default', context: 'test' });
    await assert.rejects(execInPod(nobody, { namespace: 'default', name: 'p' }, ['true']));
    assert.equal(kubelet.requests.length, before);
  });

  test('SPDY gets the answer that it is not spoken', async () => {
    const { ca, admin } = server.pki;
    const request = https.request({
      ...{ host: '127.0.0.1', port: server.port, ca, cert: admin.certificate, key: admin.key, agent: false },
      method: 'POST',
      path: '/api/v1/namespaces/default/pods/p/exec?command=true&stdout=true',
      headers: { connection: 'Upgrade', upgrade: 'SPDY/3.1' },
    });
    request.end();
    const [response] = (await once(request, 'response')) as [{ statusCode: number; resume(): void }];
    assert.equal(response.statusCode, 400);
    response.resume();
  });
});
