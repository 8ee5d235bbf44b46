import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { decideOutbound, type OutboundRequest } from './outbound-request.ts';
import { memberOf, service, workload } from './state/builders.fixture.ts';
import { MeshState } from './state/mesh-state.ts';
import type { GatewayAddress, Service, Workload } from './state/model.ts';

const client = workload({ name: 'client', addresses: ['10.0.0.1'], serviceAccount: 'sleep' });
const spiffe = (serviceAccount: string): string => `spiffe://cluster.local/ns/demo/sa/${serviceAccount}`;
const web = service({ name: 'web', vip: '10.255.0.1' });
const backend = workload({ name: 'web-1', addresses: ['10.0.1.1'], serviceAccount: 'web', services: memberOf(web.hostname) });
const waypointService = service({
  name: 'waypoint',
  vip: '10.255.0.9',
  ports: new Map([[15008, 15008]]),
  subjectAltNames: [spiffe('extra'), 'not a spiffe id'],
});
const waypoint = workload({
  name: 'waypoint-1',
  addresses: ['10.0.2.2'],
  serviceAccount: 'waypoint',
  services: new Map([[`demo/${waypointService.hostname}`, new Map([[15008, 15008]])]]),
});
const byHostname: GatewayAddress = { kind: 'hostname', namespace: 'demo', hostname: waypointService.hostname, hboneMtlsPort: 15008 };
const byAddress: GatewayAddress = { kind: 'address', network: 'flat', address: '10.0.2.2', hboneMtlsPort: 15008 };

/** What becomes of a connection, in the few words that matter. */
function brief(request: OutboundRequest): object {
  const { protocol, destination, workload: next, service: called } = request;
  const common = { protocol, to: `${destination.host}:${destination.port}`, next: next?.name, service: called?.name };
  return protocol === 'HBONE' ? { ...common, authority: request.authority, identities: request.expectedIdentities } : common;
}

async function decide(
  target: string,
  mesh: { services?: readonly Service[]; workloads?: readonly Workload[] },
  options: { source?: Workload; resolve?: readonly string[] } = {},
): Promise<object> {
  const source = options.source ?? client;
  const state = new MeshState();
  state.applyAddresses({ services: mesh.services ?? [], workloads: [source, ...(mesh.workloads ?? [])] });
  const [host = '', port = '0'] = target.split(':');
  return brief(
    await decideOutbound({
      state,
      source,
      client: source.addresses[0] ?? '',
      target: { host, port: Number(port) },
      network: 'flat',
      hbonePort: 15008,
      random: () => 0,
      resolveHostname: () => Promise.resolve(options.resolve ?? []),
    }),
  );
}

describe('where a captured connection goes', () => {
  test('to an unknown address: through, as it is', async () => {
    assert.deepEqual(await decide('192.0.2.1:443', {}), { protocol: 'TCP', to: '192.0.2.1:443', next: undefined, service: undefined });
  });

  test('to a service: to an endpoint by HBONE, asking for its own port', async () => {
    assert.deepEqual(await decide('10.255.0.1:80', { services: [web], workloads: [backend] }), {
      protocol: 'HBONE',
      to: '10.0.1.1:15008',
      next: 'web-1',
      service: 'web',
      authority: '10.0.1.1:8080',
      identities: [spiffe('web')],
    });
  });

  test('to a service whose names are told: any of them is accepted', async () => {
    const named = { ...web, subjectAltNames: [spiffe('other'), spiffe('web'), 'nonsense'] };
    const request = (await decide('10.255.0.1:80', { services: [named], workloads: [backend] })) as { identities: string[] };
    assert.deepEqual(request.identities, [spiffe('web'), spiffe('other')]);
  });

  test('to a pod: to it by HBONE, on the port that was called', async () => {
    assert.deepEqual(await decide('10.0.1.1:9999', { workloads: [backend] }), {
      protocol: 'HBONE',
      to: '10.0.1.1:15008',
      next: 'web-1',
      service: undefined,
      authority: '10.0.1.1:9999',
      identities: [spiffe('web')],
    });
  });

  test('to an endpoint outside the mesh: plaintext, on its own port', async () => {
    const plain = { ...backend, protocol: 'TCP' as const };
    assert.deepEqual(await decide('10.255.0.1:80', { services: [web], workloads: [plain] }), {
      protocol: 'TCP',
      to: '10.0.1.1:8080',
      next: 'web-1',
      service: 'web',
    });
  });

  test('to a pod in the host network: by service HBONE, by its address (the node) through', async () => {
    const host = { ...backend, networkMode: 'HostNetwork' as const };
    assert.equal(((await decide('10.255.0.1:80', { services: [web], workloads: [host] })) as { protocol: string }).protocol, 'HBONE');
    assert.equal(((await decide('10.0.1.1:8080', { services: [web], workloads: [host] })) as { protocol: string }).protocol, 'TCP');
  });

  test('to a service that leaves the addresses alone: through', async () => {
    const passthrough = {
      ...web,
      loadBalancer: { mode: 'Passthrough' as const, healthPolicy: 'AllowAll' as const, routingPreferences: [] },
    };
    assert.deepEqual(await decide('10.255.0.1:80', { services: [passthrough], workloads: [backend] }), {
      protocol: 'TCP',
      to: '10.255.0.1:80',
      next: undefined,
      service: undefined,
    });
  });

  test('to an endpoint that is a name: to what it resolves to, in the family of the call', async () => {
    const external = { ...backend, addresses: [], hostname: 'example.com', protocol: 'TCP' as const };
    const request = (await decide(
      '10.255.0.1:80',
      { services: [web], workloads: [external] },
      { resolve: ['2001:db8::1', '192.0.2.7'] },
    )) as { to: string };
    assert.equal(request.to, '192.0.2.7:8080');
  });

  for (const [how, gateway] of Object.entries({ hostname: byHostname, address: byAddress })) {
    test(`to a service with a waypoint (by ${how}): to the waypoint, asking for the service`, async () => {
      const request = await decide('10.255.0.1:80', {
        services: [{ ...web, waypoint: gateway }, waypointService],
        workloads: [backend, waypoint],
      });
      assert.deepEqual(request, {
        protocol: 'HBONE',
        to: '10.0.2.2:15008',
        next: 'waypoint-1',
        service: 'web',
        authority: '10.255.0.1:80',
        identities: how === 'hostname' ? [spiffe('waypoint'), spiffe('extra')] : [spiffe('waypoint')],
      });
    });
  }

  test('to a pod with a waypoint: to the waypoint, asking for the pod', async () => {
    const request = (await decide('10.0.1.1:8080', {
      services: [waypointService],
      workloads: [{ ...backend, waypoint: byHostname }, waypoint],
    })) as {
      to: string;
      authority: string;
    };
    assert.deepEqual([request.to, request.authority], ['10.0.2.2:15008', '10.0.1.1:8080']);
  });

  test('from the waypoint itself: straight to the pod', async () => {
    for (const gateway of [byAddress, byHostname]) {
      const request = (await decide(
        '10.0.1.1:8080',
        { services: [waypointService], workloads: [{ ...backend, waypoint: gateway }, waypoint] },
        { source: waypoint },
      )) as { to: string };
      assert.equal(request.to, '10.0.1.1:15008', gateway.kind);
    }
  });

  test('by service: the waypoint of the pod is not asked', async () => {
    const request = (await decide('10.255.0.1:80', {
      services: [web, waypointService],
      workloads: [{ ...backend, waypoint: byHostname }, waypoint],
    })) as {
      to: string;
    };
    assert.equal(request.to, '10.0.1.1:15008');
  });

  const refusals: Record<
    string,
    { target: string; mesh: { services?: Service[]; workloads?: Workload[] }; code: string; message: RegExp }
  > = {
    'a service without endpoints': {
      target: '10.255.0.1:80',
      mesh: { services: [web] },
      code: 'ZTUNNEL_NO_HEALTHY_UPSTREAM',
      message: /^no healthy upstream: 10\.255\.0\.1:80$/,
    },
    'a port that the service does not have': {
      target: '10.255.0.1:81',
      mesh: { services: [web], workloads: [backend] },
      code: 'ZTUNNEL_NO_HEALTHY_UPSTREAM',
      message: /^no healthy upstream: 10\.255\.0\.1:81$/,
    },
    'a waypoint that nobody knows': {
      target: '10.255.0.1:80',
      mesh: { services: [{ ...web, waypoint: byHostname }], workloads: [backend] },
      code: 'ZTUNNEL_UNKNOWN_WAYPOINT',
      message: /^unknown waypoint: demo\/waypoint/,
    },
    'a waypoint without endpoints': {
      target: '10.255.0.1:80',
      mesh: { services: [{ ...web, waypoint: byHostname }, waypointService], workloads: [backend] },
      code: 'ZTUNNEL_UNKNOWN_WAYPOINT',
      message: /^unknown waypoint/,
    },
    'an endpoint on another network': {
      target: '10.255.0.1:80',
      mesh: { services: [web], workloads: [{ ...backend, network: 'elsewhere' }] },
      code: 'ZTUNNEL_NO_ROUTE',
      message: /^no valid routing destination for workload: cluster-1\/\/Pod\/demo\/web-1/,
    },
    'an endpoint whose name does not resolve': {
      target: '10.255.0.1:80',
      mesh: { services: [web], workloads: [{ ...backend, addresses: [], hostname: 'gone.example.com' }] },
      code: 'ZTUNNEL_NO_HEALTHY_UPSTREAM',
      message: /^no ip addresses were resolved/,
    },
  };
  for (const [what, { target, mesh, code, message }] of Object.entries(refusals)) {
    test(`refuses ${what}`, async () => {
      await assert.rejects(decide(target, mesh), { code, message });
    });
  }
});
