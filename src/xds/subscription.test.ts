import assert from 'node:assert/strict';
import { suite, test } from 'node:test';

import { create } from '@bufbuild/protobuf';
import fc from 'fast-check';

import { DeltaDiscoveryRequestSchema } from '../api/gen/envoy/discovery_pb.js';
import { ResourceTable } from './resource-table.ts';
import { Subscription, type Delta } from './subscription.ts';

const typeUrl = 'type.googleapis.com/test.Thing';
const names = ['a', 'b', 'c', 'd'] as const;
/** Keys by which resources are found beside their names. */
const keys = [...names, 'net/1', 'net/2', 'group/1', 'group/2'] as const;

type Step =
  | {
      readonly kind: 'set';
      readonly name: string;
      readonly version: number;
      readonly alias: string | undefined;
      readonly group: string | undefined;
    }
  | { readonly kind: 'delete'; readonly name: string }
  | { readonly kind: 'subscribe'; readonly key: string }
  | { readonly kind: 'unsubscribe'; readonly key: string }
  | { readonly kind: 'take' }
  | { readonly kind: 'reconnect' };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constant('set' as const),
    name: fc.constantFrom(...names),
    version: fc.nat(3),
    alias: fc.constantFrom(undefined, 'net/1', 'net/2'),
    group: fc.constantFrom(undefined, 'group/1', 'group/2'),
  }),
  fc.record({ kind: fc.constant('delete' as const), name: fc.constantFrom(...names) }),
  fc.record({ kind: fc.constant('subscribe' as const), key: fc.constantFrom(...keys) }),
  fc.record({ kind: fc.constant('unsubscribe' as const), key: fc.constantFrom(...keys) }),
  fc.constantFrom<Step>({ kind: 'take' }, { kind: 'take' }, { kind: 'reconnect' }),
);

/** A client that follows the protocol, and nothing else. */
class Client {
  readonly has = new Map<string, string>();
  readonly asked = new Set<string>();
  readonly unanswered = new Set<string>();

  take(delta: Delta | undefined): void {
    if (delta === undefined) return;
    for (const { name, version } of delta.resources) {
      this.has.set(name, version);
      this.unanswered.delete(name);
    }
    for (const name of delta.removed) {
      this.has.delete(name);
      this.unanswered.delete(name);
    }
  }
}

function play(steps: readonly Step[], mode: 'wildcard' | 'on-demand'): { table: ResourceTable; client: Client } {
  const table = new ResourceTable({ typeUrl });
  const client = new Client();
  let subscription = new Subscription(table);
  let stop = table.onChange((changed) => subscription.changed(changed));
  const begin = (): void => {
    const initialResourceVersions = Object.fromEntries(client.has);
    if (mode === 'on-demand') for (const key of client.asked) initialResourceVersions[key] ??= '';
    const star = mode === 'on-demand' ? { resourceNamesSubscribe: ['*'], resourceNamesUnsubscribe: ['*'] } : {};
    subscription.request(create(DeltaDiscoveryRequestSchema, { typeUrl, initialResourceVersions, ...star }));
    // What it holds and what is still so needs no answer.
    client.unanswered.clear();
    for (const key of client.asked) if (!client.has.has(key)) client.unanswered.add(key);
  };
  begin();
  for (const step of steps) {
    if (step.kind === 'set') {
      const { name, version, alias, group } = step;
      const aliases = alias === undefined ? [] : [alias];
      table.set({ name, body: Uint8Array.of(version), aliases, partOf: group === undefined ? [] : [group], version: `${version}` });
    } else if (step.kind === 'delete') table.delete(step.name);
    else if (step.kind === 'take') client.take(subscription.take());
    else if (step.kind === 'reconnect') {
      stop();
      subscription = new Subscription(table);
      stop = table.onChange((changed) => subscription.changed(changed));
      begin();
    } else if (mode === 'on-demand') {
      if (step.kind === 'subscribe') {
        if (client.asked.has(step.key)) continue;
        client.asked.add(step.key);
        client.unanswered.add(step.key);
        subscription.request(create(DeltaDiscoveryRequestSchema, { typeUrl, resourceNamesSubscribe: [step.key] }));
      } else if (client.asked.delete(step.key)) {
        client.unanswered.delete(step.key);
        subscription.request(create(DeltaDiscoveryRequestSchema, { typeUrl, resourceNamesUnsubscribe: [step.key] }));
      }
    }
  }
  client.take(subscription.take());
  assert.equal(subscription.take(), undefined, 'nothing is left to say');
  return { table, client };
}

suite('a subscription', () => {
  test('to everything: whatever happens, the client has what the table has', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const { table, client } = play(steps, 'wildcard');
        const expected = [...table.resources()].map(({ name, version }) => [name, version]);
        assert.deepEqual([...client.has].sort(), expected.sort());
      }),
      { numRuns: 500 },
    );
  });

  test('on demand: the client has, current, all it asked for, nothing that is gone, and an answer to every key', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const { table, client } = play(steps, 'on-demand');
        assert.deepEqual([...client.unanswered], []);
        for (const key of client.asked) {
          for (const { name, version } of table.resolve(key)) assert.equal(client.has.get(name), version, `${key} brings ${name}`);
        }
        // Of what was given up, the client was told that it hears no more.
        if (steps.some(({ kind }) => kind === 'unsubscribe')) return;
        for (const [name, version] of client.has) assert.equal(table.get(name)?.version, version, name);
      }),
      { numRuns: 500 },
    );
  });
});
