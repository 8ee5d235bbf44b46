import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { decideInbound, guessService } from './inbound-request.ts';
import { memberOf, service, workload } from './state/builders.fixture.ts';
import { MeshState } from './state/mesh-state.ts';
import type { Service, Workload } from './state/model.ts';

const web = service({ name: 'web', vip: '10.255.0.1' });
const pod = workload({ name: 'web-1', addresses: ['10.0.1.1'], services: memberOf(web.hostname) });
const waypointOfPod = { kind: 'address', network: 'flat', address: '10.0.1.1', hboneMtlsPort: 15008 } as const;

function decide(authority: string, options: { pod?: Workload; services?: Service[]; workloads?: Workload[] } = {}): string {
  const own = options.pod ?? pod;
  const state = new MeshState();
  state.applyAddresses({ services: options.services ?? [web], workloads: [own, ...(options.workloads ?? [])] });
  const request = decideInbound({
    state,
    authority,
    podAddress: '10.0.1.1',
    workload: own,
    network: 'flat',
    illegalPorts: new Set([15001, 15006, 15008]),
  });
  return `${request.destination.host}:${request.destination.port}${request.proxyProtocol ? ` PROXY ${request.tunnelTarget.host}:${request.tunnelTarget.port}` : ''}`;
}

describe('where a CONNECT goes inside the pod', () => {
  const accepted: Record<string, { authority: string; options?: Parameters<typeof decide>[1]; expected: string }> = {
    'its own address': { authority: '10.0.1.1:5000', expected: '10.0.1.1:5000' },
    'a service by name': { authority: `${web.hostname}:80`, expected: '10.0.1.1:8080' },
    'a service whose port is named': {
      authority: `${web.hostname}:80`,
      options: {
        services: [{ ...web, ports: new Map([[80, 0]]) }],
        pod: { ...pod, services: new Map([[`demo/${web.hostname}`, new Map([[80, 7070]])]]) },
      },
      expected: '10.0.1.1:7070',
    },
    'a service for which it is the waypoint': {
      authority: '10.255.0.1:80',
      options: { services: [{ ...web, waypoint: waypointOfPod }] },
      expected: '10.0.1.1:80',
    },
    'a pod for which it is the waypoint': {
      authority: '10.0.7.7:80',
      options: { workloads: [workload({ name: 'other', addresses: ['10.0.7.7'], waypoint: waypointOfPod })] },
      expected: '10.0.1.1:80',
    },
    'anything, when its application takes tunnels': {
      authority: '10.0.7.7:80',
      options: { pod: { ...pod, applicationTunnel: { protocol: 'PROXY', port: 15088 } } },
      expected: '10.0.1.1:15088 PROXY 10.0.7.7:80',
    },
  };
  for (const [what, { authority, options, expected }] of Object.entries(accepted)) {
    test(`accepts ${what}`, () => {
      assert.equal(decide(authority, options), expected);
    });
  }

  const refused: Record<string, { authority: string; code: string; message: string }> = {
    'another address': {
      authority: '10.99.99.99:5000',
      code: 'ZTUNNEL_DESTINATION_MISMATCH',
      message: 'ip mismatch: 10.0.1.1 != 10.99.99.99',
    },
    'what is no address': {
      authority: 'not-an-address',
      code: 'ZTUNNEL_DESTINATION_MISMATCH',
      message: 'invalid CONNECT address not-an-address',
    },
    'an empty authority': { authority: '', code: 'ZTUNNEL_DESTINATION_MISMATCH', message: 'invalid CONNECT address ' },
    'a port above 65535': {
      authority: '10.0.1.1:65536',
      code: 'ZTUNNEL_DESTINATION_MISMATCH',
      message: 'invalid CONNECT address 10.0.1.1:65536',
    },
    'an unknown name': {
      authority: 'nobody.example.com:80',
      code: 'ZTUNNEL_UNKNOWN_DESTINATION',
      message: 'no service or workload for hostname: nobody.example.com',
    },
    'a port that the service does not have': {
      authority: `${web.hostname}:81`,
      code: 'ZTUNNEL_UNKNOWN_DESTINATION',
      message: `requested service ${web.hostname}:81 found, but cannot resolve port`,
    },
    'a port of the proxy': { authority: '10.0.1.1:15001', code: 'ZTUNNEL_SELF_CALL', message: 'attempted recursive call to ourselves' },
  };
  for (const [what, { authority, code, message }] of Object.entries(refused)) {
    test(`refuses ${what}`, () => {
      assert.throws(() => decide(authority), { code, message });
    });
  }

  test('names the service that the client has called, if the pod belongs to it', () => {
    const second = service({ name: 'second', vip: '10.255.0.2' });
    const state = new MeshState();
    state.applyAddresses({ services: [web, second], workloads: [{ ...pod, services: memberOf(web.hostname, second.hostname) }] });
    const [own] = [...state.workloads.values()];
    assert.ok(own);
    assert.equal(guessService(state, own, 8080, second.hostname)?.name, 'second');
    assert.equal(guessService(state, own, 8080, 'claimed.example.com')?.name, 'web');
    assert.equal(guessService(state, own, 9999, undefined), undefined);
  });
});
