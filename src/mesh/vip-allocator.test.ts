import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import fc from 'fast-check';

import type { ServiceEntry } from '../api/kubernetes.ts';
import { VipAllocator } from './vip-allocator.ts';

function entry(
  name: string,
  options: { spec?: object; status?: object; created?: string; labels?: Record<string, string> } = {},
): ServiceEntry {
  const { spec = {}, status, created = '2026-01-01T00:00:00Z', labels = {} } = options;
  return {
    apiVersion: 'networking.istio.io/v1',
    kind: 'ServiceEntry',
    metadata: { name, namespace: 'demo', creationTimestamp: created, labels },
    spec: { hosts: [`${name}.example`], resolution: 'STATIC', ...spec },
    ...(status && { status }),
  };
}

function written(of: ServiceEntry, addresses: readonly object[] | undefined): ServiceEntry {
  return addresses === undefined ? of : { ...of, status: { addresses } as object };
}

/** Observes and writes one entry, as the controller does. */
function settle(allocator: VipAllocator, key: string, of: ServiceEntry): ServiceEntry {
  allocator.observe(key, of);
  const after = written(of, allocator.wanted(key, of));
  allocator.observe(key, after);
  return after;
}

const values = (of: ServiceEntry): string[] =>
  ((of.status as { addresses?: { value: string }[] } | undefined)?.addresses ?? []).map(({ value }) => value);

describe('virtual addresses', () => {
  it('are given in sequence, one of each family a host', () => {
    const allocator = new VipAllocator();
    assert.deepEqual(values(settle(allocator, 'a', entry('a'))), ['240.240.0.1', '2001:2::1']);
    const two = settle(allocator, 'b', entry('b', { spec: { hosts: ['x', 'y'] } }));
    assert.deepEqual(two.status, {
      addresses: [
        { host: 'x', value: '240.240.0.2' },
        { host: 'x', value: '2001:2::2' },
        { host: 'y', value: '240.240.0.3' },
        { host: 'y', value: '2001:2::3' },
      ],
    });
  });

  it('stay what they are after a restart', () => {
    const before = new VipAllocator();
    const entries = ['a', 'b', 'c'].map((name) => [name, settle(before, name, entry(name))] as const);
    const after = new VipAllocator();
    for (const [name, one] of [...entries].reverse()) after.observe(name, one);
    for (const [name, one] of entries) assert.equal(after.wanted(name, one), undefined);
    assert.deepEqual(values(settle(after, 'd', entry('d'))), ['240.240.0.4', '2001:2::4']);
  });

  it('are not given to hosts that may not have one, and taken from those that no longer may', () => {
    const allocator = new VipAllocator();
    for (const spec of [{ resolution: 'NONE' }, { resolution: undefined }, { addresses: ['192.0.2.1'] }, { hosts: ['*.example'] }]) {
      assert.deepEqual(values(settle(allocator, 'a', entry('a', { spec }))), [], JSON.stringify(spec));
    }
    assert.deepEqual(values(settle(allocator, 'a', entry('a', { labels: { 'networking.istio.io/enable-autoallocate-ip': 'false' } }))), []);
    assert.equal(values(settle(allocator, 'a', entry('a', { spec: { hosts: ['*.example'], resolution: 'DYNAMIC_DNS' } }))).length, 2);
    const had = settle(allocator, 'b', entry('b'));
    assert.deepEqual(values(settle(allocator, 'b', { ...had, spec: { ...had.spec, resolution: 'NONE' } })), []);
  });

  it('that two entries have stay with the older one, or with the one whose user gave it', () => {
    const allocator = new VipAllocator();
    const taken = {
      addresses: [
        { host: 'a.example', value: '240.240.0.1' },
        { host: 'a.example', value: '2001:2::1' },
      ],
    };
    const old = entry('a', { status: taken });
    const young = entry('b', {
      created: '2026-02-01T00:00:00Z',
      status: {
        addresses: [
          { host: 'b.example', value: '240.240.0.1' },
          { host: 'b.example', value: '2001:2::9' },
        ],
      },
    });
    allocator.observe('b', young);
    assert.deepEqual(allocator.observe('a', old), ['b']);
    assert.equal(allocator.wanted('a', old), undefined);
    assert.deepEqual(
      allocator.wanted('b', young)?.map(({ value }) => value),
      ['240.240.0.2', '2001:2::9'],
    );
    allocator.observe('user', entry('user', { spec: { addresses: ['240.240.0.1'] }, created: '2026-03-01T00:00:00Z' }));
    assert.deepEqual(
      allocator.wanted('a', old)?.map(({ value }) => value),
      ['240.240.0.3', '2001:2::1'],
    );
  });

  it('can run out', () => {
    const allocator = new VipAllocator({ ipv4Prefix: '192.0.2.0/30' });
    for (const name of ['a', 'b', 'c']) settle(allocator, name, entry(name));
    assert.throws(() => settle(allocator, 'd', entry('d')), { code: 'MESH_ADDRESSES_EXHAUSTED' });
    allocator.forget('b');
    assert.deepEqual(values(settle(allocator, 'd', entry('d')))[0], '192.0.2.2');
  });

  it('are never the same for two hosts, whatever comes and goes', () => {
    const name = fc.constantFrom('a', 'b', 'c', 'd', 'e');
    const step = fc.record({ name, hosts: fc.uniqueArray(fc.constantFrom('x', 'y', 'z'), { minLength: 1 }), gone: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const allocator = new VipAllocator({ ipv4Prefix: '192.0.2.0/27' });
        const now = new Map<string, ServiceEntry>();
        for (const { name: key, hosts, gone } of steps) {
          if (gone) {
            now.delete(key);
            allocator.forget(key);
            continue;
          }
          const before = now.get(key);
          const next = entry(key, {
            spec: { hosts: hosts.map((host) => `${host}.${key}`) },
            ...(before?.status && { status: before.status }),
          });
          now.set(key, settle(allocator, key, next));
          const all = [...now.values()].flatMap(values);
          assert.equal(new Set(all).size, all.length);
          assert.equal(values(now.get(key) ?? next).length, hosts.length * 2);
        }
      }),
    );
  });
});
