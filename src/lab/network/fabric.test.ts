import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { test } from 'node:test';

import { connectTcp, listenTcp, NetworkNamespace, runCommand } from '../../linux/index.ts';
import { isolated } from '../testing.ts';
import { makeNodeNetwork, nodeNetworkNamespace } from './fabric.ts';
import { planClusters, type ClusterPlan, type NetworkMode } from './plan.ts';

const port = 5000;

/** Two nodes, each with an address of its pods, its services and its load balancers; the second one listens on all of its own. */
async function nodes(mode: NetworkMode) {
  const [one, two] = planClusters(2, 20_000);
  assert.ok(one !== undefined && two !== undefined);
  await makeNodeNetwork([one, two], mode);
  const open = async (plan: ClusterPlan) => {
    const namespace = NetworkNamespace.open(nodeNetworkNamespace(plan));
    for (const address of Object.values(addresses(plan)))
      await runCommand('ip', ['addr', 'add', `${address}/32`, 'dev', 'lo'], { namespace });
    return namespace;
  };
  const [here, there] = [await open(one), await open(two)];
  const server = net.createServer((socket) => {
    socket.on('error', () => undefined);
    socket.end(socket.remoteAddress ?? '');
  });
  server.listen({ fd: listenTcp({ namespace: there, host: '0.0.0.0', port }) });
  await once(server, 'listening');
  /** Who the second node sees when a pod of the first one calls it; or why the call failed. */
  const call = async (host: string): Promise<string> => {
    try {
      const socket = await connectTcp({ namespace: here, host, port, sourceAddress: addresses(one).pod, timeout: 2_000 });
      const heard = once(socket, 'data', { signal: AbortSignal.timeout(3_000) });
      socket.resume();
      const [from] = (await heard) as [Buffer];
      socket.destroy();
      return from.toString('utf8');
    } catch (error) {
      return (error as { errno?: string }).errno ?? String(error);
    }
  };
  return { one, two, call, close: () => void server.close() };
}

function addresses(plan: ClusterPlan) {
  const first = (cidr: string): string => cidr.replace(/\.0\/\d+$/, '.9');
  return { pod: first(plan.nodePodCidr), service: first(plan.serviceCidr), loadBalancer: first(plan.loadBalancerCidr) };
}

isolated(import.meta.filename, () => {
  test('on a flat network pods, services and load balancers of the other cluster are reached with the own address', async () => {
    const { one, two, call, close } = await nodes('flat');
    for (const [what, address] of Object.entries(addresses(two))) assert.equal(await call(address), addresses(one).pod, what);
    assert.equal(await call(addresses(one).pod.replace(/9$/, '77')), 'EHOSTUNREACH', 'an address of an own pod that is not there');
    close();
    for (const link of ['lab0', 'node1', 'node2']) await runCommand('ip', ['link', 'delete', link]);
    for (const plan of [one, two]) await runCommand('ip', ['netns', 'delete', plan.nodeName]);
  });

  test('on separate networks only node and load balancers are, with the address of the own node', async () => {
    const { one, two, call, close } = await nodes('separate');
    const { pod, service, loadBalancer } = addresses(two);
    assert.equal(await call(pod), 'ENETUNREACH');
    assert.equal(await call(service), 'ENETUNREACH');
    assert.equal(await call(loadBalancer), one.nodeAddress);
    assert.equal(await call(two.nodeAddress), one.nodeAddress);
    close();
  });
});
