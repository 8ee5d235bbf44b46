import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { parse } from 'yaml';

import type { ConfigMap, DaemonSet, Deployment, KubeObject } from '../../api/kubernetes.ts';
import { IsthmusError } from '../../core/index.ts';
import { defaultComponents, parseComponents } from './options.ts';
import { upstreamIstiodManifests } from './upstream-istiod.ts';
import { ztunnelManifests } from './ztunnel.ts';

const options = { clusterId: 'cluster-1', network: 'flat-network', trustDomain: 'example.org', image: 'isthmus' };

function find(objects: readonly KubeObject[], kind: string, name: string): KubeObject {
  const found = objects.find((object) => object.kind === kind && object.metadata.name === name);
  assert.ok(found, `no ${kind} ${name}`);
  return found;
}

/** The only container, and where its program comes from on the node. */
function programOf(object: KubeObject) {
  const spec = (object as Deployment | DaemonSet).spec?.template.spec;
  const [container] = spec?.containers ?? [];
  assert.ok(container);
  const mount = container.volumeMounts?.find(({ mountPath }) => mountPath === container.command?.[0]);
  const hostPath = spec?.volumes?.find(({ name }) => name === mount?.name)?.hostPath;
  const env = Object.fromEntries((container.env ?? []).map(({ name, value }) => [name, value]));
  return { container, mount, hostPath, env };
}

describe("Istio's own programs", () => {
  test("istiod's Deployment runs the node's program, read-only, as Istio's chart starts it", () => {
    const objects = upstreamIstiodManifests(options, '/programs/pilot');
    const { container, mount, hostPath, env } = programOf(find(objects, 'Deployment', 'istiod'));
    assert.deepEqual(hostPath, { path: '/programs/pilot', type: 'File' });
    assert.equal(mount?.readOnly, true);
    assert.equal(container.args?.[0], 'discovery');
    assert.equal(env['CLUSTER_ID'], 'cluster-1');
    assert.equal(env['PILOT_ENABLE_AMBIENT'], 'true');
    assert.equal(env['PILOT_ENABLE_K8S_SELECT_WORKLOAD_ENTRIES'], 'false');
    assert.equal(env['CA_TRUSTED_NODE_ACCOUNTS'], 'istio-system/ztunnel');
    const mounted = new Set(container.volumeMounts?.map(({ name }) => name));
    for (const name of ['cacerts', 'istio-token', 'local-certs']) assert.ok(mounted.has(name), name);
  });

  test('the mesh configuration has the trust domain, HBONE and the networks that istiod reads', () => {
    const { data } = find(upstreamIstiodManifests(options, '/programs/pilot'), 'ConfigMap', 'istio') as ConfigMap;
    const mesh = parse(data?.['mesh'] ?? '') as { trustDomain: string; defaultConfig: { proxyMetadata: object; discoveryAddress: string } };
    assert.equal(mesh.trustDomain, 'example.org');
    assert.deepEqual(mesh.defaultConfig.proxyMetadata, { ISTIO_META_ENABLE_HBONE: 'true' });
    assert.equal(mesh.defaultConfig.discoveryAddress, 'istiod.istio-system.svc:15012');
    assert.deepEqual(parse(data?.['meshNetworks'] ?? ''), { networks: {} });
  });

  test("Istio's istiod leaves the Service of peering to peering", () => {
    const services = upstreamIstiodManifests(options, '/programs/pilot').filter(({ kind }) => kind === 'Service');
    assert.deepEqual(
      services.map(({ metadata }) => metadata.name),
      ['istiod'],
    );
  });

  test("ztunnel's DaemonSet runs the node's program, or ours", () => {
    const upstream = programOf(find(ztunnelManifests({ ...options, programs: { ztunnel: '/programs/ztunnel' } }), 'DaemonSet', 'ztunnel'));
    assert.deepEqual(upstream.hostPath, { path: '/programs/ztunnel', type: 'File' });
    assert.deepEqual(upstream.container.args, ['proxy', 'ztunnel']);
    const ours = programOf(find(ztunnelManifests(options), 'DaemonSet', 'ztunnel'));
    assert.equal(ours.container.command, undefined);
    assert.deepEqual(ours.container.args, ['ztunnel']);
    for (const [name, value] of Object.entries(ours.env)) assert.equal(upstream.env[name], value, `${name} is the same for both`);
  });
});

test('peering is a component of its own beside another istiod only', () => {
  assert.deepEqual([...defaultComponents()], ['base', 'istiod', 'cni', 'ztunnel']);
  assert.deepEqual([...defaultComponents({ ztunnel: '/z' })], ['base', 'istiod', 'cni', 'ztunnel']);
  assert.ok(defaultComponents({ istiod: '/i' }).has('peering'));
});

test('a component that there is not is refused', () => {
  assert.deepEqual([...parseComponents(['cni', 'peering'])], ['cni', 'peering']);
  assert.throws(
    () => parseComponents(['cni', 'envoy']),
    (error) => error instanceof IsthmusError && error.code === 'ISTHMUS_USAGE' && error.message.includes('envoy'),
  );
});
