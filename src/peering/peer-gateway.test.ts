import assert from 'node:assert/strict';
import { suite, test } from 'node:test';

import type { Gateway } from '../api/kubernetes.ts';
import { remoteGateway } from './cluster.fixture.ts';
import { readPeerGateway } from './peer-gateway.ts';

type Listener = Gateway['spec']['listeners'][number];

const hbone: Listener = { name: 'cross-network', port: 15_008, protocol: 'HBONE', tls: { mode: 'Passthrough' } };
const xdsTls: Listener = { name: 'xds-tls', port: 31_512, protocol: 'TLS', tls: { mode: 'Passthrough' } };

function gateway(listeners: readonly Listener[], changed: Partial<Gateway['metadata']> = {}, className = 'istio-remote'): Gateway {
  const link = remoteGateway({ cluster: 'cluster-2', address: '172.18.202.1', port: 15_012 });
  return {
    ...link,
    metadata: { ...link.metadata, ...changed },
    spec: { ...link.spec, gatewayClassName: className, listeners: [...listeners] },
  };
}

suite('which Gateways are links', () => {
  const cases: readonly (readonly [string, Gateway, string | undefined])[] = [
    ['as the command makes it', gateway([xdsTls]), 'https://172.18.202.1:31512'],
    ['made by hand, with both listeners', gateway([hbone, xdsTls]), 'https://172.18.202.1:31512'],
    [
      "istiod's port passes TLS on, whatever it is called",
      gateway([{ ...xdsTls, name: 'tls', port: 15_012 }]),
      'https://172.18.202.1:15012',
    ],
    ['pinned', gateway([hbone], { annotations: { 'isthmus.dev/peer-ca-sha256': 'ab' } }), 'https://172.18.202.1:15012'],
    ['of another network alone', gateway([hbone]), undefined],
    ['TLS on another port', gateway([hbone, { ...xdsTls, name: 'tls', port: 15_443 }]), undefined],
    ["TLS ended at istiod's port", gateway([{ ...xdsTls, name: 'tls', port: 15_012, tls: { mode: 'Terminate' } }]), undefined],
    ['of another class', gateway([xdsTls], {}, 'istio-eastwest'), undefined],
    ['being deleted', gateway([xdsTls], { deletionTimestamp: '2026-11-01T00:00:00Z' }), undefined],
  ];
  for (const [name, object, url] of cases) {
    test(name, () => {
      assert.equal(readPeerGateway(object)?.url, url);
      assert.equal(readPeerGateway(object)?.cluster, url === undefined ? undefined : 'cluster-2');
    });
  }
});
