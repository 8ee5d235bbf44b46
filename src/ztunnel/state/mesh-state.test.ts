import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import { memberOf, policy, service, workload } from './builders.fixture.ts';
import { MeshState } from './mesh-state.ts';
import type { Service, Workload } from './model.ts';

const web = service({ name: 'web', vip: '10.255.0.1' });
const one = workload({ name: 'one', addresses: ['10.0.0.1'], services: memberOf(web.hostname) });
const two = workload({ name: 'two', addresses: ['10.0.0.2'], services: memberOf(web.hostname) });

function endpointsOf(state: MeshState, of: Service = web): string[] {
  return [...state.endpoints(of)].map(({ workload: found }) => found.name).sort();
}

describe('endpoints', () => {
  test('come with their workloads, before or after the service', () => {
    for (const order of [
      [{ services: [web] }, { workloads: [one, two] }],
      [{ workloads: [one, two] }, { services: [web] }],
    ]) {
      const state = new MeshState();
      for (const change of order) state.applyAddresses(change);
      assert.deepEqual(endpointsOf(state), ['one', 'two']);
    }
  });

  test('survive a service that goes and comes back', () => {
    const state = new MeshState();
    state.applyAddresses({ services: [web], workloads: [one] });
    state.applyAddresses({ removed: ['demo/web.demo.svc.cluster.local'] });
    assert.equal(state.services.size, 0);
    assert.deepEqual(
      [...state.stagedEndpoints()].map(([key]) => key),
      ['demo/web.demo.svc.cluster.local'],
    );
    state.applyAddresses({ services: [web] });
    assert.deepEqual(endpointsOf(state), ['one']);
  });

  test('follow a change of the health policy', () => {
    const state = new MeshState();
    state.applyAddresses({ services: [web], workloads: [{ ...one, status: 'Unhealthy' }, two] });
    assert.deepEqual(endpointsOf(state), ['two']);
    const allowAll: Service = { ...web, loadBalancer: { mode: 'Standard', healthPolicy: 'AllowAll', routingPreferences: [] } };
    state.applyAddresses({ services: [allowAll] });
    assert.deepEqual(endpointsOf(state, allowAll), ['one', 'two']);
  });

  test('go with their workload, and with its membership', () => {
    const state = new MeshState();
    state.applyAddresses({ services: [web], workloads: [one, two] });
    state.applyAddresses({ removed: [one.uid] });
    assert.deepEqual(endpointsOf(state), ['two']);
    state.applyAddresses({ workloads: [{ ...two, services: new Map() }] });
    assert.deepEqual(endpointsOf(state), []);
    assert.deepEqual([...state.stagedEndpoints()], []);
  });

  test('a name that is set and removed in one answer ends up removed', () => {
    const state = new MeshState();
    state.applyAddresses({ workloads: [one], removed: [one.uid] });
    assert.equal(state.workloads.size, 0);
  });
});

describe('a service by address', () => {
  const other = service({ name: 'web', namespace: 'other', vip: '10.255.0.1', canonical: false });
  const hidden = service({ name: 'hidden', namespace: 'other', vip: '10.255.0.1', visibility: 'Namespace' });
  const broad = service({ name: 'broad', cidrVips: [{ network: 'flat', address: '10.255.0.0', length: 16 }] });
  const narrow = service({ name: 'narrow', namespace: 'other', cidrVips: [{ network: 'flat', address: '10.255.0.0', length: 24 }] });
  const cases: Record<
    string,
    { services: Service[]; namespace: string; address?: string; network?: string; expected: string | undefined }
  > = {
    "the client's own namespace first": { services: [web, other], namespace: 'other', expected: 'other/web' },
    'else the canonical one': { services: [other, web], namespace: 'third', expected: 'demo/web' },
    'not one that is hidden from the client': { services: [hidden], namespace: 'demo', expected: undefined },
    'a hidden one for its own namespace': { services: [web, hidden], namespace: 'other', expected: 'other/hidden' },
    'an exact one before a range': { services: [broad, web], namespace: 'demo', expected: 'demo/web' },
    'the longer prefix': { services: [broad, narrow], namespace: 'third', address: '10.255.0.9', expected: 'other/narrow' },
    'the own namespace before the longer prefix': {
      services: [broad, narrow],
      namespace: 'demo',
      address: '10.255.0.9',
      expected: 'demo/broad',
    },
    'only in its network': { services: [web], namespace: 'demo', network: 'elsewhere', expected: undefined },
  };
  for (const [what, { services, namespace, address = '10.255.0.1', network = 'flat', expected }] of Object.entries(cases)) {
    test(what, () => {
      const state = new MeshState();
      state.applyAddresses({ services });
      const found = state.services.byVip(network, address, namespace);
      assert.equal(found && `${found.namespace}/${found.name}`, expected);
    });
  }

  test('two services of one namespace share an address, and one of them goes', () => {
    const twin = service({ name: 'twin', vip: '10.255.0.1' });
    const state = new MeshState();
    state.applyAddresses({ services: [web, twin] });
    state.applyAddresses({ removed: ['demo/web.demo.svc.cluster.local'] });
    assert.equal(state.services.byVip('flat', '10.255.0.1', 'demo')?.name, 'twin');
  });
});

describe('a workload by address', () => {
  test('a real pod with HBONE wins, among equals the last', () => {
    const entry = { ...one, uid: 'cluster-1/networking.istio.io/WorkloadEntry/demo/entry', name: 'entry' };
    const plain = { ...one, uid: 'cluster-1//Pod/demo/plain', name: 'plain', protocol: 'TCP' as const };
    const state = new MeshState();
    state.applyAddresses({ workloads: [plain, one, entry] });
    assert.equal(state.workloads.byAddress('flat', '10.0.0.1')?.name, 'one');
    state.applyAddresses({ removed: [one.uid] });
    assert.equal(state.workloads.byAddress('flat', '10.0.0.1')?.name, 'plain');
    state.applyAddresses({ removed: [plain.uid, entry.uid] });
    assert.equal(state.workloads.byAddress('flat', '10.0.0.1'), undefined);
  });

  test('the local pod is that of the own cluster, where another has the same name on a node of the same name', () => {
    const here = workload({ name: 'db-0', clusterId: 'cluster-1' });
    const there = workload({ name: 'db-0', clusterId: 'cluster-2' });
    const state = new MeshState({ localNode: 'node-1', localCluster: 'cluster-1' });
    state.applyAddresses({ workloads: [here, there] });
    const info = { name: 'db-0', namespace: 'demo', serviceAccount: 'default' };
    assert.equal(state.workloads.local(info)?.clusterId, 'cluster-1');
    assert.deepEqual([...state.workloads.locals()], [here]);
  });

  test('a local pod is waited for, until it comes or the wait ends', async () => {
    const state = new MeshState();
    const info = { name: 'one', namespace: 'demo', serviceAccount: 'default' };
    const found = state.localWorkload(info, new AbortController().signal);
    state.applyAddresses({ workloads: [two] });
    state.applyAddresses({ workloads: [one] });
    assert.equal((await found).name, 'one');
    await assert.rejects(state.localWorkload({ ...info, name: 'nobody' }, AbortSignal.abort(new Error('enough'))), /enough/);
  });
});

test('indices always say what a fresh state of the same resources says', () => {
  const names = fc.constantFrom('a', 'b', 'c', 'd');
  const someWorkload = fc
    .record({ name: names, address: fc.constantFrom('10.0.0.1', '10.0.0.2'), member: fc.boolean() })
    .map(({ name, address, member }): Workload =>
      workload({ name, addresses: [address], services: member ? memberOf(web.hostname) : new Map() }),
    );
  const someService = fc.record({ name: names, vip: fc.constantFrom('10.255.0.1', '10.255.0.2') }).map((given): Service => service(given));
  const change = fc.oneof(
    someWorkload.map((set) => ({ workloads: [set] })),
    someService.map((set) => ({ services: [set] })),
    names.map((name) => ({ removed: [`cluster-1//Pod/demo/${name}`] })),
    names.map((name) => ({ removed: [`demo/${name}.demo.svc.cluster.local`] })),
  );
  fc.assert(
    fc.property(fc.array(change, { maxLength: 30 }), (changes) => {
      const state = new MeshState();
      for (const each of changes) state.applyAddresses(each);
      const fresh = new MeshState();
      fresh.applyAddresses({ services: [...state.services.values()], workloads: [...state.workloads.values()] });
      const view = (of: MeshState): unknown => ({
        endpoints: endpointsOf(of),
        addresses: ['10.0.0.1', '10.0.0.2'].map((address) => of.workloads.byAddress('flat', address) === undefined),
        vips: ['10.255.0.1', '10.255.0.2'].map((address) => of.services.byVip('flat', address, 'demo') === undefined),
        staged: [...of.stagedEndpoints()].map(([key]) => key).sort(),
      });
      assert.deepEqual(view(state), view(fresh));
    }),
  );
});

test('policies apply by namespace, globally, and by key; a changed scope moves them', () => {
  const state = new MeshState();
  const inNamespace = policy({ name: 'ns', rules: [] });
  const global = policy({ name: 'global', namespace: 'istio-system', scope: 'Global', rules: [] });
  const selected = policy({ name: 'selected', scope: 'WorkloadSelector', rules: [] });
  state.applyPolicies({ policies: [inNamespace, global, selected] });
  const names = (namespace: string, keys: string[] = []): string[] =>
    state.policies.applicable(namespace, keys).policies.map(({ name }) => name);
  assert.deepEqual(names('demo'), ['ns', 'global']);
  assert.deepEqual(names('other'), ['global']);
  assert.deepEqual(names('other', ['demo/selected']), ['global', 'selected']);
  assert.deepEqual(state.policies.applicable('demo', ['demo/unknown']).missing, ['demo/unknown']);
  state.applyPolicies({ policies: [{ ...inNamespace, scope: 'WorkloadSelector' }], removed: ['istio-system/global'] });
  assert.deepEqual(names('demo'), []);
});
