import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';

import type { Gateway } from '../../api/kubernetes.ts';
import { eastWestObjects } from './east-west.ts';

const gateway: Gateway = {
  apiVersion: 'gateway.networking.k8s.io/v1',
  kind: 'Gateway',
  metadata: { name: 'istio-eastwest', namespace: 'istio-eastwest', uid: 'uid' },
  spec: { gatewayClassName: 'istio-eastwest', listeners: [] },
};
const options = {
  image: 'isthmus',
  clusterId: 'one',
  network: 'net-1',
  trustDomain: 'cluster.local',
  managedBy: 'test',
  istioNamespace: 'mesh-control',
};

test('a gateway beside an istiod of another namespace is told where peering is, by the variable that it reads', async () => {
  const [container] = eastWestObjects(gateway, options).deployment.spec?.template?.spec?.containers ?? [];
  const address = container?.env?.find((variable) => variable.name === 'ISTHMUS_PEERING_ADDRESS');
  assert.equal(address?.value, 'isthmus-peering.mesh-control.svc:15012');
  const reader = await readFile(new URL('../../cli/ztunnel.ts', import.meta.url), 'utf8');
  assert.match(reader, /env\['ISTHMUS_PEERING_ADDRESS'\]/);
});

test('the roots are of the ConfigMap that istiod is told, else of istio-ca-root-cert', () => {
  const rootsOf = (more: { readonly rootConfigMap?: string }): string | undefined =>
    eastWestObjects(gateway, { ...options, ...more }).deployment.spec?.template?.spec?.volumes?.find(
      (volume) => volume.name === 'istiod-ca-cert',
    )?.configMap?.name;
  assert.equal(rootsOf({}), 'istio-ca-root-cert');
  assert.equal(rootsOf({ rootConfigMap: 'corp-roots' }), 'corp-roots');
});
