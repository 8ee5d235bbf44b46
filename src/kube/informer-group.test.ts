import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { test } from 'node:test';

import { resources } from '../api/resources.ts';
import { createLogger } from '../core/index.ts';
import { KubeClient } from './client.ts';
import { InformerGroup } from './informer-group.ts';

test('a group that is stopped before its server answers ends, and says that it has not synced', async () => {
  const server = createServer((socket) => socket.destroy()).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  using client = new KubeClient({ context: 'test', server: `http://127.0.0.1:${String(address.port)}`, namespace: 'default' });
  const group = new InformerGroup({ client, log: createLogger('test') });
  group.add(resources.pods);
  group.add(resources.gateways);
  const stop = new AbortController();
  const running = group.run(stop.signal);
  await once(server, 'connection');
  assert.deepEqual(group.pending, ['pods', 'gateways']);
  stop.abort(new Error('stopped by the test'));
  await running;
  await assert.rejects(group.synced, /stopped by the test/);
  server.close();
});
