import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { Namespace, Pod } from '../api/kubernetes.ts';
import { configFromEnvironment } from './config.ts';
import { enrolmentOf, podAddresses, redirectionOptions } from './enrolment.ts';

const mode = 'istio.io/dataplane-mode';
const namespace = (value?: string): Namespace => ({
  apiVersion: 'v1',
  kind: 'Namespace',
  metadata: { name: 'demo', labels: value === undefined ? {} : { [mode]: value } },
});
const pod = (
  given: { labels?: Record<string, string>; annotations?: Record<string, string>; namespace?: string; spec?: object; status?: object } = {},
): Pod =>
  ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: 'p',
      namespace: given.namespace ?? 'demo',
      uid: 'u',
      labels: given.labels ?? {},
      annotations: given.annotations ?? {},
    },
    spec: given.spec ?? {},
    status: given.status ?? {},
  }) as Pod;

for (const [what, given, label, expected] of [
  ['nothing is labelled', pod(), undefined, false],
  ['its namespace is', pod(), 'ambient', true],
  ['its namespace has another mode', pod(), 'sidecar', false],
  ['it is labelled itself', pod({ labels: { [mode]: 'ambient' } }), undefined, true],
  ['it is labelled, its namespace says none', pod({ labels: { [mode]: 'ambient' } }), 'none', true],
  ['it opts out', pod({ labels: { [mode]: 'none' } }), 'ambient', false],
  ['it uses the network of its host', pod({ spec: { hostNetwork: true } }), 'ambient', false],
  ['it has a sidecar', pod({ annotations: { 'sidecar.istio.io/status': '{}' } }), 'ambient', false],
  ['it is a ztunnel', pod({ labels: { app: 'ztunnel' } }), 'ambient', false],
  ['it has succeeded', pod({ status: { phase: 'Succeeded' } }), 'ambient', false],
  ['it has failed', pod({ status: { phase: 'Failed' } }), 'ambient', false],
  ['it is pending', pod({ status: { phase: 'Pending' } }), 'ambient', true],
  ['its namespace is excluded', pod({ namespace: 'kube-system', labels: { [mode]: 'ambient' } }), 'ambient', false],
] as const) {
  test(`a pod is ${expected ? '' : 'not '}in the mesh when ${what}`, () => {
    assert.equal(enrolmentOf(given, namespace(label), new Set(['kube-system'])).enrolled, expected);
  });
}

test('addresses of a pod', () => {
  assert.deepEqual(podAddresses(pod()), []);
  assert.deepEqual(podAddresses(pod({ status: { podIP: '10.0.0.1' } })), ['10.0.0.1']);
  assert.deepEqual(podAddresses(pod({ status: { podIP: '10.0.0.1', podIPs: [{ ip: '10.0.0.1' }, { ip: 'fd00::1' }] } })), [
    '10.0.0.1',
    'fd00::1',
  ]);
});

test("a pod's annotations over the agent's configuration", () => {
  const config = configFromEnvironment({ NODE_NAME: 'n' });
  const options = (annotations: Record<string, string>): object => {
    const { dns, inbound, virtualInterfaces } = redirectionOptions(pod({ annotations }), config);
    return { dns, inbound, virtualInterfaces };
  };
  assert.deepEqual(options({}), { dns: true, inbound: true, virtualInterfaces: [] });
  assert.deepEqual(options({ 'ambient.istio.io/dns-capture': 'false' }), { dns: false, inbound: true, virtualInterfaces: [] });
  assert.deepEqual(options({ 'ambient.istio.io/bypass-inbound-capture': 'true' }), { dns: false, inbound: false, virtualInterfaces: [] });
  assert.deepEqual(options({ 'istio.io/reroute-virtual-interfaces': 'tap0, tap1' }), {
    dns: true,
    inbound: true,
    virtualInterfaces: ['tap0', 'tap1'],
  });
});

test('the configuration names what it cannot use', () => {
  assert.throws(() => configFromEnvironment({}), { code: 'ISTHMUS_CONFIG_INVALID', message: 'NODE_NAME is not set' });
  assert.throws(() => configFromEnvironment({ NODE_NAME: 'n', AMBIENT_DNS_CAPTURE: 'perhaps' }), /AMBIENT_DNS_CAPTURE/);
  assert.throws(() => configFromEnvironment({ NODE_NAME: 'n', HEALTH_PORT: '70000' }), /HEALTH_PORT/);
  const {
    excludeNamespaces,
    pod: own,
    nodeName,
  } = configFromEnvironment({ KUBERNETES_NODE_NAME: 'n', EXCLUDE_NAMESPACES: 'a, b,', POD_NAME: 'p', POD_NAMESPACE: 'q' });
  assert.deepEqual([[...excludeNamespaces], own, nodeName], [['a', 'b'], { name: 'p', namespace: 'q' }, 'n']);
});
