import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import { test } from 'node:test';

import { HttpPages } from './http-pages.ts';

test('whatever the target of a request is, the server goes on', async () => {
  const pages = { '/ready': () => ({ body: 'ready\n' }), '/broken': () => Promise.reject(new Error('no')) };
  await using server = await HttpPages.listen({ host: '127.0.0.1', port: 0 }, pages);
  const statusOf = async (path: string): Promise<number | undefined> => {
    const sent = request({ host: '127.0.0.1', port: server.port, path, agent: false }).end();
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    response.resume();
    return response.statusCode;
  };
  for (const target of ['//', 'http://', '/constructor', '*']) assert.equal(await statusOf(target), 404, target);
  assert.equal(await statusOf('/broken'), 500);
  assert.equal(await statusOf('/ready'), 200);
});
