import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { after, before, test } from 'node:test';

import type { EndpointSlice, Service } from '../../api/kubernetes.ts';
import { connectTcp, listenTcp, NetworkNamespace, runCommand } from '../../linux/index.ts';
import { setLoadBalancerAddresses, routeServices } from './proxy-addresses.ts';
import { deriveRules, loadBalancerAddresses } from './proxy-model.ts';
import { renderRuleset } from './proxy-ruleset.ts';

/**
 * The rules on real wires. The test process' own network namespace is the node 172.18.0.2, with the pods 10.10.0.2 and
 * 10.10.0.3; a neighbour 172.18.0.3 is on the node network, behind it a pod of another cluster, 10.20.0.2.
 */
const podCidr = '10.10.0.0/24';
const serviceCidr = '10.255.10.0/24';
const clusterIP = '10.255.10.24';

interface Place {
  readonly namespace: NetworkNamespace;
  readonly address: string;
}

const places = new Map<string, Place>();
const servers: Server[] = [];
const stop = new AbortController();

const ip = (namespace: NetworkNamespace | undefined, line: string): Promise<string> =>
  runCommand('ip', line.split(' '), namespace === undefined ? {} : { namespace });

/** A namespace at the other end of a cable from the node. */
async function plug(name: string, address: string, prefix: number, nodeEnd: string): Promise<NetworkNamespace> {
  const namespace = NetworkNamespace.create();
  await ip(undefined, `link add ${nodeEnd} type veth peer name eth0 netns /proc/${process.pid}/fd/${namespace.fd}`);
  await ip(undefined, `link set ${nodeEnd} up`);
  await ip(namespace, 'link set lo up');
  await ip(namespace, 'link set eth0 up');
  await ip(namespace, `address add ${address}/${prefix} dev eth0`);
  places.set(name, { namespace, address });
  return namespace;
}

/** Answers each connection with its own name and the address it came from. */
async function serve(name: string, port: number): Promise<void> {
  const { namespace, address } = place(name);
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.end(`${name} ${socket.remoteAddress ?? ''}`);
  });
  server.listen({ fd: listenTcp({ namespace, host: address, port }) });
  await once(server, 'listening');
  servers.push(server);
}

function place(name: string): Place {
  const found = places.get(name);
  assert.ok(found, name);
  return found;
}

/** What somebody hears who calls an address: `who source`, or the errno. */
async function call(from: string, host: string, port: number): Promise<string> {
  try {
    const socket = await connectTcp({ namespace: place(from).namespace, host, port, timeout: 3000 });
    let text = '';
    for await (const chunk of socket) text += String(chunk);
    return text;
  } catch (error) {
    return /ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|no answer/.exec(String(error))?.[0] ?? String(error);
  }
}

async function answers(from: string, host: string, port: number, times = 40): Promise<Set<string>> {
  const heard = new Set<string>();
  for (let i = 0; i < times; i++) heard.add(await call(from, host, port));
  return heard;
}

function service(name: string, spec: NonNullable<Service['spec']>, lb?: string): Service {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'demo' },
    spec,
    ...(lb !== undefined && { status: { loadBalancer: { ingress: [{ ip: lb, ipMode: 'VIP' }] } } }),
  };
}

function slice(
  name: string,
  port: number,
  endpoints: readonly (string | { address: string; ready: boolean; serving?: boolean; node?: string })[],
): EndpointSlice {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: `${name}-x`, namespace: 'demo', labels: { 'kubernetes.io/service-name': name } },
    addressType: 'IPv4',
    ports: [{ name: '', port, protocol: 'TCP' }],
    endpoints: endpoints.map((endpoint) => {
      const {
        address,
        ready,
        serving = ready,
        node = 'node-1',
      } = typeof endpoint === 'string' ? { address: endpoint, ready: true } : endpoint;
      return { addresses: [address], nodeName: node, conditions: { ready, serving, terminating: serving && !ready } };
    }),
  };
}

async function apply(services: readonly Service[], slices: readonly EndpointSlice[]): Promise<void> {
  await setLoadBalancerAddresses(new Set(services.flatMap(loadBalancerAddresses)), stop.signal);
  await runCommand('nft', ['-f', '-'], { input: renderRuleset(deriveRules(services, slices, 'node-1'), { podCidr, serviceCidr }) });
}

before(async () => {
  // The pods and the neighbour hang on this namespace as on a node: it forwards.
  writeFileSync('/proc/sys/net/ipv4/ip_forward', '1');
  for (const [name, address] of [
    ['pod-a', '10.10.0.2'],
    ['pod-b', '10.10.0.3'],
  ] as const) {
    const namespace = await plug(name, address, 32, `veth-${name}`);
    await ip(undefined, `route add ${address}/32 dev veth-${name}`);
    await ip(namespace, 'route add 10.10.0.1 dev eth0 scope link');
    await ip(namespace, 'route add default via 10.10.0.1');
    await ip(undefined, `address add 10.10.0.1/32 dev veth-${name}`);
  }
  const neighbour = await plug('neighbour', '172.18.0.3', 16, 'eth0');
  await ip(undefined, 'address add 172.18.0.2/16 dev eth0');
  await ip(neighbour, 'address add 10.20.0.2/32 dev lo');
  await ip(neighbour, `route add ${podCidr} via 172.18.0.2`);
  await ip(neighbour, `route add ${serviceCidr} via 172.18.0.2`);
  await ip(undefined, 'route add 10.20.0.0/16 via 172.18.0.3');
  places.set('node', { namespace: NetworkNamespace.current(), address: '172.18.0.2' });
  places.set('far-pod', { namespace: neighbour, address: '10.20.0.2' });
  for (const name of ['pod-a', 'pod-b', 'far-pod', 'node']) await serve(name, 8080);
  await routeServices(serviceCidr, 'eth0', stop.signal);
});

after(async () => {
  for (const server of servers) server.close();
  await runCommand('nft', ['delete', 'table', 'ip', 'isthmus-lab-proxy']);
  for (const { namespace } of new Set(places.values())) if (namespace !== NetworkNamespace.current()) namespace[Symbol.dispose]();
});

const web = service('web', { type: 'ClusterIP', clusterIP, ports: [{ port: 80 }] });
const both = slice('web', 8080, ['10.10.0.2', '10.10.0.3']);

void test('a ClusterIP leads to every ready endpoint, from pods with their own address, from the node and from the neighbour', async () => {
  await apply([web], [both]);
  assert.deepEqual(
    await answers('pod-a', clusterIP, 80),
    new Set(['pod-b 10.10.0.2', 'pod-a 10.10.0.1']),
    'a pod that meets itself sees the node',
  );
  assert.deepEqual(await answers('node', clusterIP, 80), new Set(['pod-a 172.18.0.2', 'pod-b 172.18.0.2']));
  assert.deepEqual(await answers('neighbour', clusterIP, 80), new Set(['pod-a 172.18.0.3', 'pod-b 172.18.0.3']));
});

void test('endpoints that are not ready get nothing; those that end serve only when no other does', async () => {
  await apply([web], [slice('web', 8080, ['10.10.0.2', { address: '10.10.0.3', ready: false }])]);
  assert.deepEqual(await answers('node', clusterIP, 80, 10), new Set(['pod-a 172.18.0.2']));
  await apply([web], [slice('web', 8080, [{ address: '10.10.0.3', ready: false, serving: true }])]);
  assert.deepEqual(await answers('node', clusterIP, 80, 5), new Set(['pod-b 172.18.0.2']));
});

void test('a service without endpoints refuses at once, as do unknown addresses and ports', async () => {
  await apply([web], []);
  for (const from of ['pod-a', 'node', 'neighbour']) {
    const begun = Date.now();
    assert.equal(await call(from, clusterIP, 80), 'ECONNREFUSED', from);
    assert.equal(await call(from, clusterIP, 81), 'ECONNREFUSED', `${from}, another port`);
    assert.equal(await call(from, '10.255.10.99', 80), 'ECONNREFUSED', `${from}, another address`);
    assert.ok(Date.now() - begun < 1000);
  }
});

void test('a load balancer address is answered on the node network, and not any more when the service is gone', async () => {
  const lb = service('lb', { type: 'LoadBalancer', clusterIP, ports: [{ port: 80, nodePort: 30080 }] }, '172.18.201.1');
  await apply([lb], [slice('lb', 8080, ['10.10.0.2', '10.10.0.3'])]);
  assert.deepEqual(await answers('neighbour', '172.18.201.1', 80), new Set(['pod-a 172.18.0.3', 'pod-b 172.18.0.3']));
  assert.deepEqual(await answers('pod-a', '172.18.201.1', 80), new Set(['pod-a 10.10.0.1', 'pod-b 10.10.0.2']));
  assert.ok((await answers('node', '172.18.201.1', 80)).size === 2);
  assert.deepEqual(await answers('neighbour', '172.18.0.2', 30_080), new Set(['pod-a 172.18.0.3', 'pod-b 172.18.0.3']));
  await apply([], []);
  await ip(place('neighbour').namespace, 'neighbour flush dev eth0');
  assert.match(await call('neighbour', '172.18.201.1', 80), /EHOSTUNREACH|no answer/);
  assert.equal((await runCommand('ip', ['-4', 'address', 'show', 'dev', 'lo'])).includes('172.18.201'), false);
});

void test('traffic policy Local keeps to the endpoints of this node', async () => {
  const lb = service('lb', { type: 'LoadBalancer', clusterIP, ports: [{ port: 80 }], externalTrafficPolicy: 'Local' }, '172.18.201.1');
  const spread = slice('lb', 8080, ['10.10.0.2', { address: '10.20.0.2', ready: true, node: 'node-2' }]);
  await apply([lb], [spread]);
  await ip(place('neighbour').namespace, 'neighbour flush dev eth0');
  assert.deepEqual(await answers('neighbour', '172.18.201.1', 80, 20), new Set(['pod-a 172.18.0.3']));
  assert.deepEqual(
    new Set([...(await answers('pod-b', clusterIP, 80))]),
    new Set(['pod-a 10.10.0.3', 'far-pod 10.10.0.3']),
    'pods keep their address to far pods too',
  );
});

void test('a stranger whose answer would go another way is masked', async () => {
  const lb = service('lb', { type: 'LoadBalancer', clusterIP, ports: [{ port: 80 }] }, '172.18.201.1');
  await apply([lb], [slice('lb', 8080, ['10.20.0.2'])]);
  assert.deepEqual(await answers('neighbour', '172.18.201.1', 80, 3), new Set(['far-pod 172.18.0.2']));
});

void test('an endpoint on the node itself is reached, as the API server is', async () => {
  await apply([web], [slice('web', 8080, ['172.18.0.2'])]);
  assert.deepEqual(await answers('pod-a', clusterIP, 80, 3), new Set(['node 10.10.0.2']));
  assert.equal((await answers('node', clusterIP, 80, 3)).size, 1);
});

void test('an address that the node itself has is left to the node', async () => {
  await ip(undefined, 'address add 10.255.10.10/32 dev lo');
  const server = createServer((socket) => socket.end('dns'));
  server.listen(53, '10.255.10.10');
  await once(server, 'listening');
  servers.push(server);
  await apply([service('kube-dns', { type: 'ClusterIP', clusterIP: '10.255.10.10', ports: [{ port: 53 }] })], []);
  assert.deepEqual([await call('pod-a', '10.255.10.10', 53), await call('node', '10.255.10.10', 53)], ['dns', 'dns']);
});

void test('a client stays with its endpoint where the service asks for it', async () => {
  const sticky = service('web', { type: 'ClusterIP', clusterIP, ports: [{ port: 80 }], sessionAffinity: 'ClientIP' });
  await apply([sticky], [slice('web', 8080, ['10.10.0.2', '10.10.0.3', '172.18.0.2', '10.20.0.2'])]);
  for (const from of ['pod-a', 'pod-b', 'neighbour']) assert.equal((await answers(from, clusterIP, 80, 12)).size, 1, from);
});

void test('connections live through a change of the rules', async () => {
  await apply([web], [both]);
  const echo = createServer((socket) => socket.pipe(socket));
  echo.listen({ fd: listenTcp({ namespace: place('pod-b').namespace, host: '10.10.0.3', port: 7 }) });
  await once(echo, 'listening');
  servers.push(echo);
  const echoes = service('echo', { type: 'ClusterIP', clusterIP: '10.255.10.25', ports: [{ port: 7 }] });
  await apply([web, echoes], [both, slice('echo', 7, ['10.10.0.3'])]);
  const socket = await connectTcp({ namespace: place('pod-a').namespace, host: '10.255.10.25', port: 7 });
  socket.resume();
  for (const services of [[web], [web, echoes], []]) {
    await apply(services, [both]);
    socket.write('still there');
    const [heard] = (await once(socket, 'data', { signal: AbortSignal.timeout(2000) })) as [Buffer];
    assert.equal(heard.toString(), 'still there');
  }
  socket.destroy();
});

// In a user namespace nft may not raise its socket's send buffer, and one transaction has to fit into it (docs/lab.md).
const manyServices = /^\s*0\s+0\s+4294967295$/m.test(readFileSync('/proc/self/uid_map', 'utf8')) ? 1000 : 100;

void test(`${manyServices} services with ten endpoints each are rendered and taken over`, async () => {
  const services: Service[] = [];
  const slices: EndpointSlice[] = [];
  for (let i = 0; i < manyServices; i++) {
    const addresses = Array.from({ length: 10 }, (_, j) => `10.10.${i % 200}.${(i * 10 + j) % 250}`);
    services.push(service(`s${i}`, { type: 'ClusterIP', clusterIP: `10.255.${10 + (i >> 8)}.${i & 255}`, ports: [{ port: 80 }] }));
    slices.push(slice(`s${i}`, 8080, addresses));
  }
  await apply(services, slices);
});
