import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import { test } from 'node:test';

import { HttpEndpoints } from './http-endpoints.ts';

test('whatever the target of a request is, the server goes on', async () => {
  const paths = { '/healthz/ready': { method: 'GET', handle: () => ({ body: 'ready\n' }) } } as const;
  await using server = await HttpEndpoints.listen({ host: '127.0.0.1', port: 0, paths });
  const statusOf = async (path: string): Promise<number | undefined> => {
    const sent = request({ host: '127.0.0.1', port: server.port, path, agent: false }).end();
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    response.resume();
    return response.statusCode;
  };
  for (const target of ['//', 'http://', '/constructor', '*']) assert.equal(await statusOf(target), 404, target);
  assert.equal(await statusOf('/healthz/ready'), 200);
});
