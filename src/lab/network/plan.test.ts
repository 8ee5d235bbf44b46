import assert from 'node:assert/strict';
import { test } from 'node:test';

import { IsthmusError } from '../../core/index.ts';
import { planClusters, routedRanges } from './plan.ts';

test("the guide's addresses", () => {
  const [one, two] = planClusters(2, 16_441);
  assert.deepEqual(one, {
    name: 'cluster-1',
    number: 1,
    nodeName: 'cluster-1-control-plane',
    nodeAddress: '172.18.0.2',
    podCidr: '10.10.0.0/16',
    nodePodCidr: '10.10.0.0/24',
    podGateway: '10.10.0.1',
    serviceCidr: '10.255.10.0/24',
    apiServiceAddress: '10.255.10.1',
    dnsAddress: '10.255.10.10',
    loadBalancerCidr: '172.18.201.0/24',
    hostPort: 16_441,
  });
  assert.equal(two?.podCidr, '10.20.0.0/16');
  assert.equal(two.serviceCidr, '10.255.20.0/24');
  assert.equal(two.hostPort, 16_442);
});

test('no two of twenty clusters share an address or a port', () => {
  const plans = planClusters(20, 20_000);
  const all = plans.flatMap((plan) => [...routedRanges(plan), plan.nodeAddress, plan.hostPort]);
  assert.equal(new Set(all).size, all.length);
  for (const range of plans.flatMap(routedRanges)) {
    assert.ok(
      range.split(/[./]/).every((part) => Number(part) <= 255),
      range,
    );
  }
});

test('counts and ports that cannot be are refused', () => {
  for (const [count, port] of [
    [0, 16_441],
    [21, 16_441],
    [1.5, 16_441],
    [2, 65_535],
    [1, 0],
  ] as const) {
    assert.throws(
      () => planClusters(count, port),
      (error) => error instanceof IsthmusError && error.code === 'ISTHMUS_USAGE',
      `${count} from ${port}`,
    );
  }
});
