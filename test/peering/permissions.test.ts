import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';

import type { KubeObject } from '../../src/api/kubernetes.ts';
import { resources, type ResourceType } from '../../src/api/resources.ts';
import { applyObjects } from '../../src/cli/apply.ts';
import type { PolicyRule } from '../../src/cli/install/peering-permissions.ts';
import { peeringManifests, peeringName } from '../../src/cli/install/peering.ts';
import { createLogger } from '../../src/core/index.ts';
import { waitForObjects } from '../../src/kube/index.ts';
import { CertificateAuthority, certificateServiceRoutes, createRoot, issueIntermediate, verifyAuthority } from '../../src/pki/index.ts';
import { GrpcServer } from '../../src/xds/index.ts';
import { startCluster, startIstiod, type TestCluster, type TestObject } from '../istiod/cluster.ts';
import type { AuditedRequest } from '../support/api-server.ts';
import { freePort } from '../support/real-api-server.ts';
import { refusedTo, tokenOf } from '../support/service-account.ts';

const account = { namespace: 'istio-system', name: peeringName };
const identity = `spiffe://cluster.local/ns/${account.namespace}/sa/${account.name}`;
const executable = path.join(import.meta.dirname, '../../bin/isthmus');

/** What the chart and `isthmus install` grant, with everything switched on. */
const manifests = peeringManifests({
  namespace: account.namespace,
  clusterId: 'cluster-1',
  trustDomain: 'cluster.local',
  image: 'isthmus:test',
  createNamespaces: true,
  // The narrow way; by default the same verbs are granted everywhere.
  gatewayNamespaces: ['istio-eastwest'],
});
const rules = manifests.flatMap((object) =>
  object.kind.endsWith('Role') ? (object as unknown as { rules: readonly PolicyRule[] }).rules : [],
);
const granted = new Set(
  rules.flatMap(({ apiGroups, resources: plurals, verbs }) =>
    apiGroups.flatMap((group) => plurals.flatMap((plural) => verbs.map((verb) => grant(verb, group, plural)))),
  ),
);

/** Verbs that the scenario below does not need, and when they are needed. */
const seldom: Readonly<Record<string, string>> = {
  'get gatewayclasses.gateway.networking.k8s.io': 'two replicas make the class at the same time: one reads what the other made',
};

function grant(verb: string, group: string, plural: string): string {
  return `${verb} ${plural}${group === '' ? '' : `.${group}`}`;
}

/** The permissions that a request used. A server-side apply that made something used `create` beside `patch`. */
function used({ verb, objectRef, responseStatus }: AuditedRequest): string[] {
  if (objectRef === undefined) return [];
  const { resource, apiGroup = '', subresource } = objectRef;
  const plural = subresource === undefined ? resource : `${resource}/${subresource}`;
  const isCreation = verb === 'patch' && responseStatus?.code === 201;
  return [grant(verb, apiGroup, plural), ...(isCreation ? [grant('create', apiGroup, plural)] : [])];
}

describe('the permissions of isthmus peering', { timeout: 120_000 }, () => {
  const started = new AsyncDisposableStack();
  let here: TestCluster;
  let peer: TestCluster;
  let peerPort: number;
  let running: ChildProcess;

  before(async () => {
    const root = verifyAuthority(await createRoot());
    [here, peer] = await Promise.all([
      startCluster({ name: 'cluster-1', serviceCidr: '10.255.10.0/24' }).then((cluster) => started.use(cluster)),
      startCluster({ name: 'cluster-2', serviceCidr: '10.255.20.0/24' }).then((cluster) => started.use(cluster)),
    ]);
    await here.create(node('10.10.0.0/16'), namespace('istio-eastwest'), namespace('shop'));
    await peer.create(node('10.20.0.0/16'), namespace('demo'));
    const istiod = await startIstiod(peer, { authority: await issueIntermediate(root, { cluster: 'cluster-2' }), readinessPort: 0 });
    started.use(istiod);
    peerPort = istiod.listening.tlsPort;
    await applyObjects(
      here.client,
      manifests.filter(({ kind }) => kind === 'ServiceAccount' || kind.includes('Role')),
    );
    const authority = await CertificateAuthority.create({ material: await issueIntermediate(root, { cluster: 'cluster-1' }) });
    running = await startPeering(await startCertificateService(authority));
  });

  after(() => started.disposeAsync());

  /** What istiod is to the process: it signs for the ServiceAccount whose token the cluster's API server knows. */
  async function startCertificateService(authority: CertificateAuthority): Promise<{ readonly port: number; readonly roots: string }> {
    const log = createLogger('istiod');
    const { chain, key, roots } = await authority.issueServing({ dnsNames: ['localhost'], uris: [] });
    const routes = certificateServiceRoutes({
      authority: () => authority,
      trustDomain: 'cluster.local',
      authenticate: async ({ requestHeader }) => {
        const token = (requestHeader.get('authorization') ?? '').replace(/^Bearer /, '');
        const body = {
          apiVersion: 'authentication.k8s.io/v1',
          kind: 'TokenReview',
          metadata: { name: '' },
          spec: { token, audiences: ['istio-ca'] },
        };
        const answer = await here.client.request({ method: 'POST', path: '/apis/authentication.k8s.io/v1/tokenreviews', body });
        const { user } = (answer as unknown as { status: { user: { username: string } } }).status;
        assert.equal(user.username, `system:serviceaccount:${account.namespace}:${account.name}`);
        return { identity };
      },
      authorizeImpersonation: () => assert.fail('nobody is impersonated'),
      log,
    });
    const server = await GrpcServer.listen({ routes: [routes], tls: { certificate: chain, key, roots }, host: '127.0.0.1', port: 0, log });
    return { port: started.use(server).port, roots };
  }

  /** The program itself, with the ServiceAccount's token and nothing else. */
  async function startPeering(authority: { readonly port: number; readonly roots: string }): Promise<ChildProcess> {
    const { server, ca = '' } = here.client.transport.config;
    const kubeconfig = {
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'c',
      contexts: [{ name: 'c', context: { cluster: 'c', user: 'u', namespace: account.namespace } }],
      clusters: [{ name: 'c', cluster: { server, 'certificate-authority-data': Buffer.from(ca).toString('base64') } }],
      users: [{ name: 'u', user: { token: await tokenOf(here.client, account) } }],
    };
    const file = (name: string): string => path.join(here.stateDir, name);
    await writeFile(file('peering.kubeconfig'), JSON.stringify(kubeconfig), { mode: 0o600 });
    await writeFile(file('token'), await tokenOf(here.client, account, 'istio-ca'), { mode: 0o600 });
    await writeFile(file('root.pem'), authority.roots);
    const port = async (): Promise<string> => `127.0.0.1:${await freePort()}`;
    const flags = {
      kubeconfig: file('peering.kubeconfig'),
      'cluster-id': 'cluster-1',
      network: 'flat-network',
      listen: await port(),
      monitoring: await port(),
      readiness: await port(),
    };
    const args = ['peering', ...Object.entries(flags).flatMap(([name, value]) => [`--${name}`, value]), '--create-namespaces'];
    const child = spawn(executable, args, {
      stdio: ['ignore', 'inherit', 'inherit'],
      env: {
        ...process.env,
        TRUST_DOMAIN: 'cluster.local',
        CA_ADDRESS: `localhost:${authority.port}`,
        CA_ROOT_CA: file('root.pem'),
        AUTH_TOKEN: file('token'),
        POD_NAME: 'isthmus-peering-0',
        POD_NAMESPACE: account.namespace,
        ISTHMUS_IMAGE: 'isthmus:test',
      },
    });
    started.defer(() => void child.kill('SIGKILL'));
    return child;
  }

  async function seen<T extends KubeObject>(
    type: ResourceType<T>,
    inNamespace: string | undefined,
    what: string,
    is: (all: readonly T[]) => boolean,
  ): Promise<void> {
    try {
      await waitForObjects({ client: here.client, type, namespace: inNamespace, what, timeout: 20_000 }, is);
    } catch (error) {
      // What was not done is mostly what was not allowed.
      assert.deepEqual(await refusedTo(here.server, account), [], what);
      throw error;
    }
  }

  async function refusal(times: number): Promise<void> {
    await seen(resources.events, 'shop', `the Event to be there ${times} times`, (events) =>
      events.some(({ reason, count }) => reason === 'PEERING_SERVICE_UNSUPPORTED' && count === times),
    );
  }

  test('a life with links, entries, gateways, namespaces and events is refused nothing', async () => {
    await here.create(link('cluster-2', peerPort));
    await seen(resources.gateways, 'istio-eastwest', 'the link to be pinned and up', (gateways) =>
      gateways.some(
        ({ metadata, status }) =>
          metadata.annotations?.['isthmus.dev/peer-ca-sha256'] !== undefined &&
          status?.conditions?.some(({ type, status: is }) => type === 'gloo.solo.io/PeeringSucceeded' && is === 'True') === true,
      ),
    );

    // The namespace is made here, as the entries stand in it.
    await peer.create(globalService('demo', 'global-service'));
    for (const [name, ip] of [
      ['pod-1', '10.20.0.11'],
      ['pod-2', '10.20.0.12'],
    ] as const) {
      await peer.createPod({
        namespace: 'demo',
        name,
        ip,
        labels: { app: 'global-service' },
        annotations: { 'ambient.istio.io/redirection': 'enabled' },
      });
    }
    const pods =
      (count: number) =>
      (entries: readonly KubeObject[]): boolean =>
        entries.filter(({ metadata }) => metadata.name.startsWith('autogenflat.')).length === count;
    await seen(resources.namespaces, undefined, 'the namespace to be made', (all) => all.some(({ metadata }) => metadata.name === 'demo'));
    await seen(resources.workloadEntries, 'demo', 'both pods to be imported', pods(2));
    await seen(resources.serviceEntries, 'demo', 'the service to be imported', (entries) => entries.length === 1);

    await here.create(eastWestGateway());
    for (const type of [resources.deployments, resources.services, resources.serviceAccounts] as readonly ResourceType[]) {
      await seen(type, 'istio-eastwest', `the ${type.kind} of the gateway`, (all) =>
        all.some(({ metadata }) => metadata.name === 'istio-eastwest'),
      );
    }
    await seen(resources.gateways, 'istio-eastwest', 'the status of the gateway', (gateways) =>
      gateways.some(
        ({ metadata, status }) =>
          metadata.name === 'istio-eastwest' && (status?.conditions ?? []).some(({ type }) => type === 'Programmed'),
      ),
    );

    // The same refusal twice is one Event, counted up.
    const headless = {
      ...globalService('shop', 'headless'),
      spec: { clusterIP: 'None', selector: { app: 'x' }, ports: [{ name: 'http', port: 80 }] },
    };
    await here.create(headless);
    await refusal(1);
    const scope = async (value: string | null): Promise<void> => {
      const body = { metadata: { labels: { 'solo.io/service-scope': value } } };
      await here.client.patch(resources.services, { namespace: 'shop', name: 'headless' }, { type: 'merge', body });
    };
    await scope(null);
    // What comes after it in order shows that it was seen.
    await here.create(globalService('shop', 'marker'));
    await seen(resources.serviceEntries, 'shop', 'a service of our own', (entries) => entries.length === 1);
    await scope('global');
    await refusal(2);

    await peer.client.delete(resources.pods, { namespace: 'demo', name: 'pod-2' }, { gracePeriodSeconds: 0 });
    await seen(resources.workloadEntries, 'demo', 'the pod to be gone', pods(1));
    await peer.client.delete(resources.services, { namespace: 'demo', name: 'global-service' });
    await seen(resources.serviceEntries, 'demo', 'the service to be gone', (entries) => entries.length === 0);
    await seen(resources.workloadEntries, 'demo', 'its entries to be gone', (entries) => entries.length === 0);

    running.kill('SIGTERM');
    const [code] = (await once(running, 'exit')) as [number | null];
    assert.equal(code, 0, 'it stops cleanly, and gives up the Lease');
    await here.stopApiServer();
    assert.deepEqual(await refusedTo(here.server, account), []);
  });

  test('and has no permission without use', async () => {
    const username = `system:serviceaccount:${account.namespace}:${account.name}`;
    const requests = (await here.server.audited()).filter(({ user }) => user.username === username);
    const usedNow = new Set(requests.flatMap(used));
    const idle = [...granted].filter((permission) => !usedNow.has(permission) && !(permission in seldom));
    assert.deepEqual(idle, []);
    // A reason for what is not granted is a reason too many.
    assert.deepEqual(
      Object.keys(seldom).filter((permission) => !granted.has(permission)),
      [],
    );
  });

  test('each permission stands in the README of the chart, and no other', async () => {
    const readme = await readFile(path.join(import.meta.dirname, '../../charts/isthmus-peering/README.md'), 'utf8');
    const section = readme.slice(readme.indexOf('## Permissions'), readme.indexOf('## What the pods may do'));
    const rows = section.split('\n').flatMap((line) => {
      const [, what, verbs] = /^\| (`[^|]+) \| ([a-z, ]+) \|/.exec(line) ?? [];
      if (what === undefined || verbs === undefined) return [];
      const plurals = what.split(', ').map((name) => name.split(' ')[0]?.replaceAll('`', '') ?? '');
      return plurals.flatMap((plural) => verbs.split(', ').map((verb) => `${verb} ${plural}`));
    });
    const plain = rules.flatMap(({ resources: plurals, verbs }) => plurals.flatMap((plural) => verbs.map((verb) => `${verb} ${plural}`)));
    assert.deepEqual([...new Set(rows)].sort(), [...new Set(plain)].sort());
  });
});

function namespace(name: string): TestObject {
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name } };
}

function node(podCIDR: string): TestObject {
  return { apiVersion: 'v1', kind: 'Node', metadata: { name: 'node-1' }, spec: { podCIDR, podCIDRs: [podCIDR] } };
}

function globalService(inNamespace: string, name: string): TestObject {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: inNamespace, labels: { 'solo.io/service-scope': 'global' } },
    spec: { selector: { app: name }, ports: [{ name: 'http', port: 5000, targetPort: 5000 }] },
  };
}

function link(cluster: string, port: number): TestObject {
  return {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'Gateway',
    metadata: {
      name: `istio-remote-peer-${cluster}`,
      namespace: 'istio-eastwest',
      labels: { 'topology.istio.io/cluster': cluster, 'topology.istio.io/network': 'flat-network' },
    },
    spec: {
      gatewayClassName: 'istio-remote',
      addresses: [{ type: 'IPAddress', value: '127.0.0.1' }],
      listeners: [{ name: 'xds-tls', port, protocol: 'TLS', tls: { mode: 'Passthrough' } }],
    },
  };
}

function eastWestGateway(): TestObject {
  return {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'Gateway',
    metadata: { name: 'istio-eastwest', namespace: 'istio-eastwest', labels: { 'topology.istio.io/network': 'flat-network' } },
    spec: {
      gatewayClassName: 'istio-eastwest',
      listeners: [{ name: 'xds-tls', port: 15012, protocol: 'TLS', tls: { mode: 'Passthrough' } }],
    },
  };
}
