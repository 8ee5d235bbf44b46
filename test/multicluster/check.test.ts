import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';

import type { Gateway, WorkloadEntry } from '../../src/api/kubernetes.ts';
import { resources } from '../../src/api/resources.ts';
import { applyObjects } from '../../src/cli/apply.ts';
import { checkClusters, severityOf, waitForClusters, type ClusterReport } from '../../src/cli/multicluster/check.ts';
import { expose } from '../../src/cli/multicluster/expose.ts';
import { findingCodes, type Finding, type FindingCode } from '../../src/cli/multicluster/findings.ts';
import { link } from '../../src/cli/multicluster/link.ts';
import { KubeClient } from '../../src/kube/index.ts';
import { createRoot, issueIntermediate, verifyAuthority, type AuthorityMaterial } from '../../src/pki/index.ts';
import { startApiServer, type ApiServer } from '../support/api-server.ts';
import { installWithHelm, makeNamespace, makeReadyPod, setReady } from '../support/helm-installed-istio.ts';

const kubectlBinary = process.env['KUBECTL_BIN'] ?? 'kubectl';
const hasKubectl = spawnSync(kubectlBinary, ['version', '--client']).status === 0;
const repository = path.resolve(import.meta.dirname, '../..');

/** The istiod of the first cluster is where charts put it; that of the second has a revision and other namespaces. */
const east = { clusterId: 'east-1', namespace: 'istio-system', dataPlaneNamespace: 'kube-system', istiod: 'istiod' };
const west = { clusterId: 'west-1', namespace: 'mesh-control', dataPlaneNamespace: 'mesh-data', istiod: 'istiod-1-27' };

interface Case {
  readonly code: FindingCode;
  readonly what?: string;
  /** Makes something wrong in the cluster `west`. */
  readonly break: () => Promise<unknown>;
  /** What of the printed command has to be as it is; a command that only shows something is not run. */
  readonly command: RegExp;
  /** How it is mended where the command is for programs that are not here, or asks a human. */
  readonly mend?: () => Promise<unknown>;
  /** What a control plane would do when the command has run; none runs here. */
  readonly afterwards?: () => Promise<unknown>;
}

describe('check beside an Istio that others installed', () => {
  const servers: ApiServer[] = [];
  let home: string;
  let a: KubeClient;
  let b: KubeClient;
  let intermediates: { readonly east: AuthorityMaterial; readonly west: AuthorityMaterial };
  let foreignRoot: AuthorityMaterial;

  before(async () => {
    home = await mkdtemp(path.join(tmpdir(), 'check-'));
    await mkdir(path.join(home, 'bin'));
    await symlink(path.join(repository, 'bin/isthmus'), path.join(home, 'bin/isthmus'));
    servers.push(await startApiServer({ name: 'east' }), await startApiServer({ name: 'west' }));
    [a, b] = servers.map(({ kubeconfig: file }) => KubeClient.fromKubeconfig({ path: file })) as [KubeClient, KubeClient];
    const root = verifyAuthority(await createRoot());
    foreignRoot = await createRoot({ organization: 'somebody else' });
    intermediates = {
      east: await issueIntermediate(root, { cluster: 'east-1' }),
      west: await issueIntermediate(root, { cluster: 'west-1' }),
    };
    const env = { PILOT_ENABLE_K8S_SELECT_WORKLOAD_ENTRIES: 'false' };
    await installWithHelm(a, { ...east, network: 'flat', authority: intermediates.east, podRange: '10.10.0.0/16', env });
    await installWithHelm(b, { ...west, revision: '1-27', network: 'flat', authority: intermediates.west, podRange: '10.20.0.0/16', env });
    for (const [client, { namespace }] of [
      [a, east],
      [b, west],
    ] as const) {
      await applyObjects(client, [peeringDeployment(namespace)]);
      await makeReadyPod(client, { name: 'isthmus-peering-x', namespace, labels: { app: 'isthmus-peering' } });
      await makeNamespace(client, 'istio-eastwest');
      await expose({ client, namespace: 'istio-eastwest', generate: false, wait: false, print: () => undefined });
      await programGateway(client);
      await makeReadyPod(client, {
        name: 'istio-eastwest-x',
        namespace: 'istio-eastwest',
        labels: { 'gateway.networking.k8s.io/gateway-name': 'istio-eastwest' },
      });
      await makeNamespace(client, 'demo', { 'istio.io/dataplane-mode': 'ambient' });
      await applyObjects(client, [globalService('demo')]);
    }
    await link({ clients: [a, b], namespace: 'istio-eastwest', timeout: 5_000, print: () => undefined });
    await setPeerState(a, 'west-1', {});
    await setPeerState(b, 'east-1', {});
  });

  after(async () => {
    a[Symbol.dispose]();
    b[Symbol.dispose]();
    for (const server of servers) await server[Symbol.asyncDispose]();
    await rm(home, { recursive: true, force: true });
  });

  const both = { peers: true } as const;
  const findingsOf = (reports: readonly ClusterReport[]): Finding[] =>
    reports.flatMap(({ lines }) => lines.flatMap(({ findings }) => [...findings]));
  const check = async (): Promise<Finding[]> => findingsOf(await checkClusters({ ...both, clients: [a, b] }));

  /** What a user runs: in a shell, with kubectl and isthmus on the path and both contexts. */
  async function run(command: string): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }> {
    const { promise, resolve } = Promise.withResolvers<{ code: number; stdout: string; stderr: string }>();
    const env = {
      PATH: `${path.join(home, 'bin')}:${process.env['PATH'] ?? ''}`,
      HOME: home,
      KUBECONFIG: servers.map(({ kubeconfig: file }) => file).join(':'),
    };
    execFile('sh', ['-euc', command], { env, timeout: 60_000 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr });
    });
    return await promise;
  }

  /** A command of a report; fails when it does. */
  async function shell(command: string): Promise<void> {
    const { code, stdout, stderr } = await run(command);
    assert.equal(code, 0, `${command}: ${stdout}${stderr}`);
  }

  async function setEnv(
    kind: 'deployments' | 'daemonSets',
    ref: { name: string; namespace: string },
    env: Record<string, string | null>,
  ): Promise<void> {
    const type = resources[kind];
    const object = await b.get(type, ref);
    const [container] = object.spec?.template.spec?.containers ?? [];
    assert.ok(container);
    const kept = (container.env ?? []).filter(({ name }) => !(name in env));
    const set = Object.entries(env).flatMap(([name, value]) => (value === null ? [] : [{ name, value }]));
    const body = { spec: { template: { spec: { containers: [{ ...container, env: [...kept, ...set] }] } } } };
    await b.patch(type, ref, { type: 'merge', body });
  }

  const istiod = { name: west.istiod, namespace: west.namespace };
  const ztunnel = { name: 'ztunnel', namespace: west.dataPlaneNamespace };
  const link1 = { name: 'istio-remote-peer-east-1', namespace: 'istio-eastwest' };

  async function setImage(kind: 'deployments' | 'daemonSets', ref: { name: string; namespace: string }, image: string): Promise<void> {
    const type = resources[kind] as typeof resources.deployments;
    const [container] = (await b.get(type, ref)).spec?.template.spec?.containers ?? [];
    assert.ok(container);
    await b.patch(type, ref, { type: 'merge', body: { spec: { template: { spec: { containers: [{ ...container, image }] } } } } });
  }

  const setConfig = async (data: Record<string, string>): Promise<unknown> =>
    await b.patch(
      resources.configMaps,
      { name: 'istio-cni-config', namespace: west.dataPlaneNamespace },
      { type: 'merge', body: { data } },
    );
  const setNetwork = async (network: string | null): Promise<unknown> =>
    await b.patch(
      resources.namespaces,
      { name: west.namespace },
      { type: 'merge', body: { metadata: { labels: { 'topology.istio.io/network': network } } } },
    );
  const setRoots = async (client: KubeClient, namespace: string, pem: string): Promise<unknown> =>
    await client.patch(
      resources.configMaps,
      { name: 'istio-ca-root-cert', namespace },
      { type: 'merge', body: { data: { 'root-cert.pem': pem } } },
    );
  const setAuthority = async (certificate: string): Promise<unknown> =>
    await b.patch(
      resources.secrets,
      { name: 'cacerts', namespace: west.namespace },
      { type: 'merge', body: { data: { 'ca-cert.pem': Buffer.from(certificate).toString('base64') } } },
    );
  const setReadyWest = (name: string, namespace: string, ready: boolean) => (): Promise<void> => setReady(b, { name, namespace }, ready);

  const cases: readonly Case[] = [
    {
      code: 'CHECK_LOCAL_NAME_SPREADS',
      break: () => setEnv('deployments', istiod, { PILOT_ENABLE_K8S_SELECT_WORKLOAD_ENTRIES: null }),
      command: /^kubectl --context west -n mesh-control set env deployment\/istiod-1-27 PILOT_ENABLE_K8S_SELECT_WORKLOAD_ENTRIES=false$/,
    },
    {
      code: 'CHECK_AMBIENT_OFF',
      what: 'in istiod',
      break: () => setEnv('deployments', istiod, { PILOT_ENABLE_AMBIENT: null }),
      command: /set env deployment\/istiod-1-27 PILOT_ENABLE_AMBIENT=true$/,
    },
    {
      code: 'CHECK_AMBIENT_OFF',
      what: 'in the CNI agent',
      break: () => setConfig({ AMBIENT_ENABLED: 'false' }),
      command: /^kubectl --context west -n mesh-data patch configmap istio-cni-config .* rollout restart daemonset\/istio-cni-node$/,
    },
    {
      code: 'CHECK_VIP_ALLOCATION_OFF',
      what: 'told so',
      break: () => setEnv('deployments', istiod, { PILOT_ENABLE_IP_AUTOALLOCATE: 'false' }),
      command: /PILOT_ENABLE_IP_AUTOALLOCATE=true$/,
    },
    {
      code: 'CHECK_VIP_ALLOCATION_OFF',
      what: 'by default, before 1.25',
      break: async () => {
        await setEnv('deployments', istiod, { PILOT_ENABLE_IP_AUTOALLOCATE: null });
        await setImage('deployments', istiod, 'docker.io/istio/pilot:1.24.3');
      },
      command: /PILOT_ENABLE_IP_AUTOALLOCATE=true$/,
      afterwards: () => setImage('deployments', istiod, 'docker.io/istio/pilot:1.27.1'),
    },
    {
      code: 'CHECK_ISTIOD_TOO_OLD',
      break: () => setImage('deployments', istiod, 'registry.example.com:5000/istio/pilot:1.23.4-distroless'),
      command: /^helm upgrade istiod istio\/istiod --kube-context west -n mesh-control --reset-then-reuse-values$/,
      mend: () => setImage('deployments', istiod, 'registry.example.com:5000/istio/pilot:1.28.0'),
    },
    {
      code: 'CHECK_ZTUNNEL_TOO_OLD',
      break: () => setImage('daemonSets', ztunnel, 'docker.io/istio/ztunnel:1.22.0'),
      command: /^istioctl upgrade --context west -i mesh-data$/,
      mend: () => setImage('daemonSets', ztunnel, 'docker.io/istio/ztunnel:1.27.1'),
    },
    {
      code: 'CHECK_PEERING_NOT_RUNNING',
      break: () => b.delete(resources.deployments, { name: 'isthmus-peering', namespace: west.namespace }),
      command: /^isthmus install --components peering --context west$/,
      mend: () => applyObjects(b, [peeringDeployment(west.namespace)]),
    },
    ...(
      [
        ['CHECK_ISTIOD_NOT_READY', 'istiod-1-27-5f7d-x', west.namespace, 'app=istiod'],
        ['CHECK_PEERING_NOT_READY', 'isthmus-peering-x', west.namespace, 'app=isthmus-peering'],
        ['CHECK_ZTUNNEL_NOT_READY', 'ztunnel-abcde', west.dataPlaneNamespace, 'app=ztunnel'],
        ['CHECK_CNI_NOT_READY', 'istio-cni-node-abcde', west.dataPlaneNamespace, 'k8s-app=istio-cni-node'],
        ['CHECK_EASTWEST_NOT_READY', 'istio-eastwest-x', 'istio-eastwest', 'gateway.networking.k8s.io/gateway-name=istio-eastwest'],
      ] as const
    ).map(([code, pod, namespace, selector]): Case => ({
      code,
      break: setReadyWest(pod, namespace, false),
      command: new RegExp(`^kubectl --context west -n ${namespace} describe pods -l ${selector}$`),
      mend: setReadyWest(pod, namespace, true),
    })),
    {
      code: 'CHECK_CLUSTER_ID_INVALID',
      break: () => setEnv('deployments', istiod, { CLUSTER_ID: 'Kubernetes' }),
      command: /set env deployment\/istiod-1-27 CLUSTER_ID=west && .*set env daemonset\/ztunnel ISTIO_META_CLUSTER_ID=west/,
      afterwards: resetClusterId,
    },
    {
      code: 'CHECK_CLUSTER_IDS_EQUAL',
      break: () => setEnv('deployments', istiod, { CLUSTER_ID: 'east-1' }),
      command: /CLUSTER_ID=west/,
      afterwards: resetClusterId,
    },
    {
      code: 'CHECK_TRUST_DOMAINS_DIFFER',
      break: () =>
        b.patch(
          resources.configMaps,
          { name: 'istio-1-27', namespace: west.namespace },
          { type: 'merge', body: { data: { mesh: 'trustDomain: west.example\n' } } },
        ),
      command: /^helm upgrade istiod istio\/istiod --kube-context west -n mesh-control .* --set meshConfig.trustDomain=cluster.local$/,
      mend: () =>
        b.patch(
          resources.configMaps,
          { name: 'istio-1-27', namespace: west.namespace },
          { type: 'merge', body: { data: { mesh: 'trustDomain: cluster.local\n' } } },
        ),
    },
    {
      code: 'CHECK_ROOTS_DIFFER',
      what: 'by what the peer presents',
      break: () =>
        setPeerState(b, 'east-1', {
          connected: ['PEERING_NOT_CONNECTED', 'not connected to peer: self-signed certificate in certificate chain'],
        }),
      command: /isthmus ca issue-intermediate --cluster east-1 --context east/,
      mend: () => setPeerState(b, 'east-1', {}),
    },
    {
      code: 'CHECK_INTERMEDIATES_EQUAL',
      break: () => setAuthority(intermediates.east.certificate),
      command: /^isthmus ca issue-intermediate --cluster west-1 --context west -i mesh-control --renew/,
      mend: () => setAuthority(intermediates.west.certificate),
    },
    {
      code: 'CHECK_PIN_DIFFERS',
      break: () =>
        b.patch(resources.gateways, link1, {
          type: 'merge',
          body: { metadata: { annotations: { 'isthmus.dev/peer-ca-sha256': 'ab'.repeat(32) } } },
        }),
      command: /^isthmus multicluster link --contexts west,east --namespace istio-eastwest$/,
    },
    {
      code: 'CHECK_NETWORK_UNSET',
      break: () => setNetwork(null),
      command: /^kubectl --context west label namespace mesh-control topology.istio.io\/network=flat --overwrite$/,
    },
    {
      code: 'CHECK_NETWORKS_DIFFER',
      what: 'between clusters',
      break: async () => {
        await setNetwork('west-net');
        await setEnv('daemonSets', ztunnel, { NETWORK: 'west-net' });
        await relabel('istio-eastwest', 'west-net');
        await relabel('istio-remote-peer-east-1', 'west-net');
      },
      command: /^kubectl --context west label namespace mesh-control topology.istio.io\/network=flat --overwrite$/,
      afterwards: async () => {
        await setEnv('daemonSets', ztunnel, { NETWORK: 'flat' });
        await relabel('istio-eastwest', 'flat');
        await relabel('istio-remote-peer-east-1', 'flat');
      },
    },
    {
      code: 'CHECK_NETWORKS_DIFFER',
      what: 'of ztunnel',
      break: () => setEnv('daemonSets', ztunnel, { NETWORK: 'other' }),
      command: /^kubectl --context west -n mesh-data set env daemonset\/ztunnel NETWORK=flat$/,
    },
    {
      code: 'CHECK_NETWORKS_DIFFER',
      what: 'of the gateway',
      break: () => relabel('istio-eastwest', 'other'),
      command: /^isthmus multicluster expose --context west --namespace istio-eastwest$/,
    },
    {
      code: 'CHECK_NETWORKS_DIFFER',
      what: 'of a link',
      break: () => relabel('istio-remote-peer-east-1', 'other'),
      command: /^isthmus multicluster link --contexts west,east --namespace istio-eastwest$/,
    },
    {
      code: 'CHECK_POD_RANGES_OVERLAP',
      what: 'by the nodes',
      break: () => setRange('10.10.128.0/17'),
      command: /^kubectl --context west get nodes/,
      mend: () => setRange('10.20.0.0/16'),
    },
    {
      code: 'CHECK_EASTWEST_MISSING',
      break: () => b.delete(resources.gateways, { name: 'istio-eastwest', namespace: 'istio-eastwest' }),
      command: /^isthmus multicluster expose --context west --namespace istio-eastwest$/,
      afterwards: () => programGateway(b),
    },
    {
      code: 'CHECK_EASTWEST_NOT_PROGRAMMED',
      break: () => programGateway(b, 'False'),
      command: /describe gateway istio-eastwest$/,
      mend: () => programGateway(b),
    },
    {
      code: 'CHECK_PEERS_MISSING',
      break: () => b.delete(resources.gateways, link1),
      command: /^isthmus multicluster link --contexts west,east --namespace istio-eastwest$/,
      afterwards: () => setPeerState(b, 'east-1', {}),
    },
    {
      code: 'CHECK_PEER_NOT_CONNECTED',
      break: () => setPeerState(b, 'east-1', { connected: ['PEERING_NOT_CONNECTED', 'not connected to peer: connect ECONNREFUSED'] }),
      command: /describe gateway istio-remote-peer-east-1$/,
      mend: () => setPeerState(b, 'east-1', {}),
    },
    {
      code: 'CHECK_PEER_NOT_SYNCED',
      break: () => setPeerState(b, 'east-1', { synced: ['PEERING_TRUST_DOMAIN', "the peer's trust domain is another"] }),
      command: /describe gateway istio-remote-peer-east-1$/,
      mend: () => setPeerState(b, 'east-1', {}),
    },
    {
      code: 'CHECK_POD_RANGES_OVERLAP',
      what: 'by what peering says',
      break: () => setPeerState(b, 'east-1', { synced: ['PEERING_RANGE_OVERLAP', "the peer's pod range 10.20.0.0/16 overlaps"] }),
      command: /get nodes/,
      mend: () => setPeerState(b, 'east-1', {}),
    },
    {
      code: 'CHECK_PEER_PARTLY_REFUSED',
      break: () => setPeerState(b, 'east-1', { accepted: ['PEERING_RESOURCE_REFUSED', '3 refused, such as demo/x'] }),
      command: /describe gateway istio-remote-peer-east-1$/,
      mend: () => setPeerState(b, 'east-1', {}),
    },
    {
      code: 'CHECK_NAMESPACE_NOT_IN_MESH',
      break: () =>
        b.patch(
          resources.namespaces,
          { name: 'demo' },
          { type: 'merge', body: { metadata: { labels: { 'istio.io/dataplane-mode': null } } } },
        ),
      command: /^kubectl --context west label namespace demo istio.io\/dataplane-mode=ambient --overwrite$/,
    },
    {
      code: 'CHECK_ENTRIES_STALE',
      break: () => b.apply(resources.workloadEntries, flatEntry('gone-1', 'demo'), { fieldManager: 'isthmus-peering' }),
      command: /^kubectl --context west delete workloadentries -n demo -l isthmus.dev\/peer=gone-1$/,
    },
    {
      code: 'CHECK_ENTRIES_FOREIGN',
      what: 'of another control plane',
      break: () => b.apply(resources.workloadEntries, flatEntry('east-1', 'demo'), { fieldManager: 'another-istiod' }),
      command: /^kubectl --context west -n demo delete workloadentry autogenflat.east-1.demo.web-1.eacd81ea03fd$/,
    },
    {
      code: 'CHECK_ENTRIES_FOREIGN',
      what: 'of our istiod',
      break: () => b.apply(resources.workloadEntries, flatEntry('east-1', west.namespace), { fieldManager: 'isthmus-peering' }),
      command: /^kubectl --context west -n mesh-control delete workloadentry/,
    },
    // Not next to the other case that restarts the CNI agent: kubectl refuses two restarts within a second.
    { code: 'CHECK_DNS_CAPTURE_OFF', break: () => setConfig({ AMBIENT_DNS_CAPTURE: 'false' }), command: /"AMBIENT_DNS_CAPTURE":"true"/ },
    // Last, since it leaves other authorities behind.
    {
      code: 'CHECK_ROOTS_DIFFER',
      what: 'by the ConfigMaps',
      break: () => setRoots(b, west.namespace, foreignRoot.roots),
      command:
        /^isthmus ca create-root; isthmus ca issue-intermediate --cluster west-1 --context west .* && .* --cluster east-1 --context east/,
      afterwards: async () => {
        // Each istiod takes up its new authority at its start, and puts its root into the ConfigMap; the link still names the old one.
        for (const [client, { namespace }] of [
          [a, east],
          [b, west],
        ] as const) {
          const secret = await client.get(resources.secrets, { name: 'cacerts', namespace });
          await setRoots(client, namespace, Buffer.from(secret.data?.['root-cert.pem'] ?? '', 'base64').toString());
        }
        const found = await check();
        assert.deepEqual([...new Set(found.map(({ code }) => code))], ['CHECK_PIN_DIFFERS']);
        await shell(found[0]?.command ?? '');
      },
    },
  ];

  async function resetClusterId(): Promise<void> {
    await setEnv('deployments', istiod, { CLUSTER_ID: 'west-1' });
    await setEnv('deployments', { name: 'isthmus-peering', namespace: west.namespace }, { CLUSTER_ID: null });
  }

  async function relabel(name: string, network: string): Promise<unknown> {
    const body = { metadata: { labels: { 'topology.istio.io/network': network } } };
    return await b.patch(resources.gateways, { name, namespace: 'istio-eastwest' }, { type: 'merge', body });
  }

  async function setRange(range: string): Promise<unknown> {
    // A node's ranges cannot be changed once they are set.
    await b.delete(resources.nodes, { name: 'node-1' });
    return await b.create(resources.nodes, {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name: 'node-1' },
      spec: { podCIDR: range, podCIDRs: [range] },
    });
  }

  test('nothing is found when all is as it should be', async () => {
    const reports = await checkClusters({ ...both, clients: [a, b] });
    assert.deepEqual(findingsOf(reports), []);
    assert.equal(severityOf(reports), 'ok');
    assert.deepEqual(
      reports.map(({ clusterId }) => clusterId),
      ['east-1', 'west-1'],
    );
  });

  test('exit codes and JSON of the command', async () => {
    const command = 'isthmus multicluster check --contexts east,west';
    const well = await run(`${command} -o json`);
    assert.equal(well.code, 0, well.stderr);
    const report = JSON.parse(well.stdout) as {
      severity: string;
      clusters: { cluster: string; checks: { check: string; severity: string }[] }[];
    };
    assert.equal(report.severity, 'ok');
    assert.deepEqual(
      report.clusters.map(({ cluster }) => cluster),
      ['east-1', 'west-1'],
    );
    const inMesh = (mode: string | null): Promise<unknown> =>
      b.patch(
        resources.namespaces,
        { name: 'demo' },
        { type: 'merge', body: { metadata: { labels: { 'istio.io/dataplane-mode': mode } } } },
      );
    await inMesh(null);
    const warned = await run(command);
    assert.equal(warned.code, 1);
    assert.match(warned.stdout, /^⚠️ {2}Shared Services Check: found global Services outside the mesh$/m);
    assert.equal((await run(`${command} --fail-on failure`)).code, 0);
    await setNetwork(null);
    const failed = await run(`${command} --fail-on failure`);
    assert.equal(failed.code, 2);
    assert.match(failed.stdout, /^❌ Network Configuration Check: .*\n {3}CHECK_NETWORK_UNSET: .*\n {5}mend: kubectl /m);
    await setNetwork('flat');
    await inMesh('ambient');
    const elsewhere = await run(`${command} -i nowhere`);
    assert.equal(elsewhere.code, 2, 'a cluster that cannot be checked is no mere warning');
    assert.match(elsewhere.stderr, /MESH_NOT_INSTALLED/);
    assert.equal((await run(`${command} --fail-on nothing`)).code, 64);
  });

  for (const one of cases) {
    const how = one.mend === undefined ? 'gone after the printed command' : 'gone when mended';
    const skip = one.mend === undefined && !hasKubectl && 'no kubectl on PATH (KUBECTL_BIN names one)';
    test(`${[one.code, one.what].filter(Boolean).join(', ')}: found, ${how}`, { skip }, async () => {
      await one.break();
      const found = (await check()).filter(({ code }) => code === one.code);
      const [first] = found;
      assert.ok(first, `not found: ${one.code}`);
      assert.equal(first.severity, findingCodes[one.code]);
      assert.match(first.command, one.command);
      if (one.mend === undefined) await shell(first.command);
      else await one.mend();
      await one.afterwards?.();
      assert.deepEqual(await check(), []);
    });
  }

  test('every code has a case', () => {
    const tested = new Set(cases.map(({ code }) => code));
    assert.deepEqual([...tested].sort(), Object.keys(findingCodes).sort());
  });

  test('waiting ends when the last finding is gone, and not before', async () => {
    await setNetwork(null);
    const before = Date.now();
    const waiting = waitForClusters({ ...both, clients: [a, b], timeout: 20_000, failOn: 'warning' });
    let done = false;
    void waiting.then(() => {
      done = true;
    });
    // The first look is over when the second cluster's namespaces were read again after it.
    await check();
    assert.equal(done, false);
    await setNetwork('flat');
    assert.equal(severityOf(await waiting), 'ok');
    assert.ok(Date.now() - before < 20_000);
    await setReadyWest('ztunnel-abcde', west.dataPlaneNamespace, false)();
    const forPod = waitForClusters({ ...both, clients: [a, b], timeout: 20_000, failOn: 'warning' });
    await check();
    await setReadyWest('ztunnel-abcde', west.dataPlaneNamespace, true)();
    assert.equal(severityOf(await forPod), 'ok');
    await setNetwork(null);
    const late = await waitForClusters({ ...both, clients: [a, b], timeout: 300, failOn: 'warning' });
    assert.equal(severityOf(late), 'failure');
    await setNetwork('flat');
  });
});

function peeringDeployment(namespace: string): { apiVersion: string; kind: string; metadata: { name: string; namespace: string } } {
  const labels = { app: 'isthmus-peering' };
  const object = {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'isthmus-peering', namespace, labels },
    spec: {
      replicas: 1,
      selector: { matchLabels: labels },
      template: {
        metadata: { labels },
        spec: { containers: [{ name: 'peering', image: 'docker.io/isthmus/isthmus:0.1.0', args: ['peering'] }] },
      },
    },
  };
  return object;
}

function globalService(namespace: string) {
  const object = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web', namespace, labels: { 'solo.io/service-scope': 'global' } },
    spec: { selector: { app: 'web' }, ports: [{ name: 'http', port: 80 }] },
  };
  return object;
}

function flatEntry(peer: string, namespace: string): WorkloadEntry {
  return {
    apiVersion: 'networking.istio.io/v1',
    kind: 'WorkloadEntry',
    metadata: {
      name: `autogenflat.${peer}.demo.web-1.eacd81ea03fd`,
      namespace,
      labels: {
        'isthmus.dev/peer': peer,
        'topology.istio.io/cluster': peer,
        'solo.io/parent-service': 'web',
        'solo.io/parent-service-namespace': 'demo',
      },
    },
    spec: { address: '10.10.0.9', network: 'flat' },
  };
}

/** What the gateway controller says of the east-west gateway. */
async function programGateway(client: KubeClient, status = 'True'): Promise<void> {
  const lastTransitionTime = '2026-11-24T00:00:00Z';
  const conditions = [{ type: 'Programmed', status, reason: 'Programmed', message: 'by the test', lastTransitionTime }];
  const body = { status: { conditions, addresses: [{ type: 'IPAddress', value: '192.0.2.1' }] } };
  const ref = { name: 'istio-eastwest', namespace: 'istio-eastwest' };
  await client.patch(resources.gateways, ref, { type: 'merge', body }, { subresource: 'status' });
}

type Trouble = readonly [reason: string, message: string];

/** What peering says of a link: all well, but for what is given. */
async function setPeerState(
  client: KubeClient,
  peer: string,
  trouble: { readonly connected?: Trouble; readonly synced?: Trouble; readonly accepted?: Trouble },
): Promise<Gateway> {
  const condition = (type: string, [reason, message]: Trouble = ['Well', 'all well'], isTrouble: boolean) => ({
    type,
    status: isTrouble ? 'False' : 'True',
    reason,
    message,
    lastTransitionTime: '2026-11-24T00:00:00Z',
  });
  const conditions = [
    condition('gloo.solo.io/PeerConnected', trouble.connected, trouble.connected !== undefined),
    condition('gloo.solo.io/PeeringSucceeded', trouble.synced, trouble.synced !== undefined),
    condition('isthmus.dev/ResourcesAccepted', trouble.accepted, trouble.accepted !== undefined),
  ];
  const ref = { name: `istio-remote-peer-${peer}`, namespace: 'istio-eastwest' };
  return await client.patch(resources.gateways, ref, { type: 'merge', body: { status: { conditions } } }, { subresource: 'status' });
}
