import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, test } from 'node:test';

import type { ConfigMap } from '../src/api/kubernetes.ts';
import { resources } from '../src/api/resources.ts';
import { createLogger, IsthmusError } from '../src/core/index.ts';
import { EventRecorder, Informer, isConflict, isNotFound, KubeClient, waitForObjects, type Change } from '../src/kube/index.ts';
import { startApiServer, type ApiServer } from './support/api-server.ts';

const log = createLogger('test');

const clientOf = ({ kubeconfig }: ApiServer): KubeClient => KubeClient.fromKubeconfig({ path: kubeconfig });

function configMap(name: string, value: string): ConfigMap {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace: 'default', labels: { of: 'test' } }, data: { value } };
}

/** Notes every change of an informer as text and lets a test wait for one. */
class Notes {
  readonly seen: string[] = [];
  readonly #target = new EventTarget();

  readonly handler = (changes: readonly Change<ConfigMap>[]): void => {
    for (const { type, key, object } of changes)
      this.seen.push(`${type} ${key}${object === undefined ? '' : ` ${object.data?.['value'] ?? ''}`}`);
    this.#target.dispatchEvent(new Event('change'));
  };

  async until(...wanted: readonly string[]): Promise<void> {
    while (!wanted.every((change) => this.seen.includes(change)))
      await once(this.#target, 'change', { signal: AbortSignal.timeout(10_000) });
  }
}

describe('kube against the API server', { concurrency: false }, () => {
  test('an informer tells every change once, in order, also what happened while the server was away', async () => {
    await using server = await startApiServer();
    using client = clientOf(server);
    await client.create(resources.configMaps, configMap('a', '1'));
    await client.create(resources.configMaps, configMap('gone', '1'));
    const notes = new Notes();
    const informer = new Informer({ client, type: resources.configMaps, namespace: 'default', labelSelector: 'of=test' });
    informer.onChange(notes.handler);
    const stop = new AbortController();
    const running = informer.run(stop.signal);
    await informer.synced;
    assert.deepEqual(notes.seen, ['add default/a 1', 'add default/gone 1']);
    await client.apply(resources.configMaps, configMap('a', '2'));
    await notes.until('update default/a 2');

    await server.stop();
    await server.start();
    // The informer may be back at any point of this; whenever it is, the end is the same.
    await client.delete(resources.configMaps, { name: 'gone', namespace: 'default' });
    await client.create(resources.configMaps, configMap('z', '1'));
    await notes.until('add default/z 1', 'delete default/gone');
    assert.deepEqual([...notes.seen].slice(3).sort(), ['add default/z 1', 'delete default/gone']);
    assert.deepEqual([...informer.list()].map(({ metadata }) => metadata.name).sort(), ['a', 'z']);
    stop.abort();
    await running;
  });

  test('errors: not found, conflict, a wait that is over', async () => {
    await using server = await startApiServer();
    using client = clientOf(server);
    await assert.rejects(client.get(resources.configMaps, { name: 'none', namespace: 'default' }), isNotFound);
    const made = await client.create(resources.configMaps, configMap('a', '1'));
    await client.update(resources.configMaps, { ...made, data: { value: '2' } });
    await assert.rejects(client.update(resources.configMaps, { ...made, data: { value: '3' } }), isConflict);
    await assert.rejects(
      waitForObjects({ client, type: resources.configMaps, namespace: 'default', what: 'never', timeout: 50 }, () => false),
      (error) => error instanceof IsthmusError && error.code === 'ISTHMUS_TIMEOUT',
    );
  });

  test('the same Event counts up', async () => {
    await using server = await startApiServer();
    using client = clientOf(server);
    const recorder = new EventRecorder({ client, component: 'test', log });
    const about = await client.create(resources.configMaps, configMap('a', '1'));
    for (let i = 0; i < 3; i += 1) await recorder.record({ about, type: 'Warning', reason: 'Refused', message: 'no' });
    const { items } = await client.list(resources.events, { namespace: 'default', fieldSelector: 'involvedObject.name=a' });
    assert.deepEqual(
      items.map(({ reason, count, type }) => [reason, count, type]),
      [['Refused', 3, 'Warning']],
    );
  });
});
