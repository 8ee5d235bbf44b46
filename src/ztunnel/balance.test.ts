import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import { pickEndpoint, pickWeighted, selectAddress } from './balance.ts';
import { memberOf, service, workload } from './state/builders.fixture.ts';
import { MeshState } from './state/mesh-state.ts';
import type { LoadBalancer, Workload } from './state/model.ts';

const hostname = 'web.demo.svc.cluster.local';
const source = workload({ name: 'client', addresses: ['10.0.0.1'], locality: { region: 'r1', zone: 'z1', subzone: '' } });

/** The names that may be picked: every point of the random range is tried. */
function reachable(balancer: LoadBalancer | undefined, endpoints: readonly Workload[], port = 80): string[] {
  const state = new MeshState();
  const web = service({ name: 'web', vip: '10.255.0.1', loadBalancer: balancer });
  state.applyAddresses({ services: [web], workloads: endpoints.map((endpoint) => ({ ...endpoint, services: memberOf(hostname) })) });
  const names = new Set<string>();
  for (let point = 0; point < 1; point += 1 / 64) {
    const picked = pickEndpoint({ state, service: web, servicePort: port, source, mode: 'standard', random: () => point });
    if (picked !== undefined) names.add(picked.workload.name);
  }
  return [...names].sort();
}

function endpoint(name: string, given: Partial<Workload> = {}): Workload {
  return workload({ name, addresses: ['10.0.0.9'], services: memberOf(hostname), ...given });
}

const at = (region: string, zone = ''): Pick<Workload, 'locality'> => ({ locality: { region, zone, subzone: '' } });
const failover = (...routingPreferences: LoadBalancer['routingPreferences']): LoadBalancer => ({
  mode: 'Failover',
  healthPolicy: 'OnlyHealthy',
  routingPreferences,
});

describe('balancing', () => {
  const cases: Record<string, { balancer?: LoadBalancer; endpoints: Workload[]; expected: string[] }> = {
    'all endpoints without preferences': { endpoints: [endpoint('a'), endpoint('b', at('r9'))], expected: ['a', 'b'] },
    'no unhealthy ones': { endpoints: [endpoint('a', { status: 'Unhealthy' }), endpoint('b')], expected: ['b'] },
    'unhealthy ones when the service wants all': {
      balancer: { ...failover(), healthPolicy: 'AllowAll' },
      endpoints: [endpoint('a', { status: 'Unhealthy' }), endpoint('b')],
      expected: ['a', 'b'],
    },
    'none with capacity 0': { endpoints: [endpoint('a', { capacity: 0 }), endpoint('b')], expected: ['b'] },
    'nothing when all capacities are 0': { endpoints: [endpoint('a', { capacity: 0 })], expected: [] },
    'the same zone first': {
      balancer: failover('Region', 'Zone'),
      endpoints: [endpoint('near', at('r1', 'z1')), endpoint('region', at('r1', 'z2')), endpoint('far', at('r2', 'z1'))],
      expected: ['near'],
    },
    'the region when the zone has none': {
      balancer: failover('Region', 'Zone'),
      endpoints: [endpoint('region', at('r1', 'z2')), endpoint('far', at('r2', 'z1'))],
      expected: ['region'],
    },
    'the farthest rather than none': { balancer: failover('Region'), endpoints: [endpoint('far', at('r2'))], expected: ['far'] },
    'none rather than a farther one when strict': {
      balancer: { ...failover('Node'), mode: 'Strict' },
      endpoints: [endpoint('other', { node: 'node-2' })],
      expected: [],
    },
    'its own cluster first': {
      balancer: failover('Cluster'),
      endpoints: [endpoint('here'), endpoint('there', { clusterId: 'cluster-2' })],
      expected: ['here'],
    },
    'its own network before any locality': {
      balancer: failover('Network', 'Region', 'Zone'),
      endpoints: [endpoint('own', at('r9', 'z9')), endpoint('remote', { network: 'other', networkGateway: undefined, ...at('r1', 'z1') })],
      expected: ['own'],
    },
    'by locality among remote networks': {
      balancer: failover('Network', 'Region', 'Zone'),
      endpoints: [endpoint('near', { network: 'other', ...at('r1', 'z1') }), endpoint('far', { network: 'other', ...at('r2', 'z2') })],
      expected: ['near'],
    },
    'none without an address in its own network': { endpoints: [endpoint('a', { addresses: [] })], expected: [] },
    'one with only a hostname': { endpoints: [endpoint('a', { addresses: [], hostname: 'example.com' })], expected: ['a'] },
  };
  for (const [what, { balancer, endpoints, expected }] of Object.entries(cases)) {
    test(`picks ${what}`, () => {
      assert.deepEqual(reachable(balancer, endpoints), expected);
    });
  }

  test('picks nothing for a port that the service does not have', () => {
    assert.deepEqual(reachable(undefined, [endpoint('a')], 81), []);
  });

  test('picks in proportion to the weights, and never outside them', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(100), { minLength: 1, maxLength: 20 }), (weights) => {
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        const counts = weights.map(() => 0);
        // One point for each unit of weight: each item is then hit exactly as often as it weighs.
        for (let unit = 0; unit < total; unit++) {
          const index = pickWeighted(
            [...weights.keys()],
            (item) => weights[item] ?? 0,
            () => (unit + 0.5) / total,
          );
          assert.ok(index !== undefined);
          counts[index] = (counts[index] ?? 0) + 1;
        }
        assert.deepEqual(counts, weights);
      }),
    );
  });

  test('uses the called address, else one of the allowed family', () => {
    const dual = workload({ name: 'dual', addresses: ['10.0.0.5', '2001:db8::5'] });
    assert.equal(selectAddress(dual, '2001:db8::5', undefined), '2001:db8::5');
    assert.equal(selectAddress(dual, '10.255.0.1', undefined), '10.0.0.5');
    assert.equal(selectAddress(dual, '2001:db8:ffff::1', 'Dual'), '2001:db8::5');
    assert.equal(selectAddress(dual, '10.255.0.1', 'IPv6'), '2001:db8::5');
    assert.equal(selectAddress(workload({ name: 'none' }), '10.255.0.1', undefined), undefined);
  });
});
