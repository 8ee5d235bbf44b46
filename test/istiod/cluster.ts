import assert from 'node:assert/strict';
import path from 'node:path';

import { create, fromBinary } from '@bufbuild/protobuf';
import { createClient } from '@connectrpc/connect';

import { gatewayApiCrds, istioCrds } from '../../src/api/crds/index.ts';
import { AuthorizationSchema, type Authorization } from '../../src/api/gen/istio/authorization_pb.js';
import { IstioCertificateRequestSchema, IstioCertificateService } from '../../src/api/gen/istio/ca_pb.js';
import { AddressSchema, type Service, type Workload } from '../../src/api/gen/istio/workload_pb.js';
import type { KubeObject, Pod } from '../../src/api/kubernetes.ts';
import { typeUrls } from '../../src/api/names.ts';
import { resources, type ResourceType } from '../../src/api/resources.ts';
import { istiodManifests } from '../../src/cli/install/istiod.ts';
import { createLogger, IsthmusError } from '../../src/core/index.ts';
import { istiodConfig, runIstiod, type IstiodConfig, type IstiodListening } from '../../src/istiod/index.ts';
import { KubeClient, waitForObjects } from '../../src/kube/index.ts';
import { createSigningRequest, writeAuthority, type AuthorityMaterial } from '../../src/pki/index.ts';
import { connectGrpc, XdsClient, type ClientTls } from '../../src/xds/index.ts';
import { startApiServer, type ApiServer, type ApiServerKind } from '../support/api-server.ts';
import { clientAs, refusedTo } from '../support/service-account.ts';

/** An API server with the mesh's CRDs, and what a test needs to speak to it. */
export interface TestCluster extends AsyncDisposable {
  readonly name: string;
  readonly stateDir: string;
  readonly kubeconfig: string;
  readonly client: KubeClient;
  readonly server: ApiServer;
  /** Ends the API server, keeping its state; resolves when it has ended. */
  stopApiServer(): Promise<void>;
  startApiServer(): Promise<void>;
  /** Installs the CRDs of Istio and of the Gateway API. */
  installCrds(): Promise<void>;
  create(...objects: readonly TestObject[]): Promise<void>;
  /** Creates a pod and sets its status as a kubelet would. */
  createPod(pod: TestPod): Promise<Pod>;
  setPodReady(namespace: string, name: string, ready: boolean): Promise<void>;
  /** A token as a kubelet projects it into a pod. */
  token(pod: Pod, audience?: string): Promise<string>;
  /** Resolves when an object is as wanted. */
  until<T extends KubeObject>(type: ResourceType<T>, ref: { name: string; namespace?: string }, is: (object: T) => boolean): Promise<T>;
}

export type TestObject = KubeObject & { readonly [field: string]: unknown };

export interface TestPod {
  readonly namespace: string;
  readonly name: string;
  readonly ip?: string;
  readonly node?: string;
  readonly serviceAccount?: string;
  readonly labels?: Record<string, string>;
  readonly annotations?: Record<string, string>;
}

const installOptions = { clusterId: 'test', network: 'flat-network', trustDomain: 'cluster.local', image: 'isthmus:test' };
const byKind = new Map(Object.values(resources).map((type) => [type.kind, type as ResourceType]));

export async function startCluster(options: {
  readonly name: string;
  /** Default a free one. */
  readonly port?: number;
  readonly serviceCidr: string;
  /** Default what the tests are told to run on. */
  readonly kind?: ApiServerKind;
  /** Default true. */
  readonly crds?: boolean;
}): Promise<TestCluster> {
  const server = await startApiServer(options);
  const client = KubeClient.fromKubeconfig({ path: server.kubeconfig });
  const cluster: TestCluster = {
    name: options.name,
    stateDir: server.stateDir,
    kubeconfig: server.kubeconfig,
    client,
    server,
    stopApiServer: () => server.stop(),
    startApiServer: () => server.start(),
    installCrds: () => installCrds(cluster),
    create: async (...objects) => {
      for (const object of objects) {
        const type = byKind.get(object.kind);
        if (type === undefined) throw new Error(`no type for ${object.kind}`);
        await client.apply(type, object, { fieldManager: 'test' });
      }
    },
    createPod: (pod) => createPod(client, pod),
    setPodReady: async (namespace, name, isReady) => {
      const body = { status: { conditions: [{ type: 'Ready', status: isReady ? 'True' : 'False' }] } };
      await client.patch(resources.pods, { namespace, name }, { type: 'strategic', body }, { subresource: 'status' });
    },
    token: async (pod, audience = 'istio-ca') => {
      const { namespace = '', name, uid } = pod.metadata;
      const body = {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenRequest',
        spec: { audiences: [audience], expirationSeconds: 3600, boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name, uid } },
      };
      const account = pod.spec?.serviceAccountName ?? 'default';
      const answer = await client.request({
        method: 'POST',
        path: `/api/v1/namespaces/${namespace}/serviceaccounts/${account}/token`,
        body,
      });
      return (answer as unknown as { status: { token: string } }).status.token;
    },
    until: async (type, ref, is) => {
      const { name, namespace } = ref;
      const what = `${type.kind} ${namespace ?? ''}/${name}`;
      const all = await waitForObjects(
        { client, type, namespace, fieldSelector: `metadata.name=${name}`, what, timeout: 10_000 },
        (objects) => objects.some(is),
      );
      const found = all.find(is);
      if (found === undefined) throw new Error(`${what} vanished`);
      return found;
    },
    [Symbol.asyncDispose]: async () => {
      client[Symbol.dispose]();
      await server[Symbol.asyncDispose]();
    },
  };
  if (options.crds ?? true) await cluster.installCrds();
  await cluster.create({
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name: 'istio-system', labels: { 'topology.istio.io/network': 'flat-network' } },
  });
  return cluster;
}

async function installCrds(cluster: TestCluster): Promise<void> {
  for (const crd of [...istioCrds(), ...gatewayApiCrds()]) {
    await cluster.client.apply(resources.customResourceDefinitions, crd as never, { fieldManager: 'test' });
    await cluster.until(resources.customResourceDefinitions, { name: crd.metadata.name }, ({ status }) =>
      (status?.conditions ?? []).some(({ type, status: is }) => type === 'Established' && is === 'True'),
    );
  }
}

async function createPod(client: KubeClient, pod: TestPod): Promise<Pod> {
  const { namespace, name, ip, node = 'node-1', serviceAccount = 'default', labels = {}, annotations = {} } = pod;
  await client.apply(resources.serviceAccounts, { metadata: { name: serviceAccount, namespace } }, { fieldManager: 'test' });
  await client.create(resources.pods, {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace, labels, annotations },
    spec: { nodeName: node, serviceAccountName: serviceAccount, containers: [{ name: 'app', image: 'app' }] },
  });
  const status = {
    phase: ip === undefined ? 'Pending' : 'Running',
    ...(ip !== undefined && { podIP: ip, podIPs: [{ ip }], conditions: [{ type: 'Ready', status: 'True' }] }),
  };
  return await client.patch(resources.pods, { name, namespace }, { type: 'merge', body: { status } }, { subresource: 'status' });
}

/** An istiod of this process, outside of the cluster that it serves. */
export interface TestIstiod extends AsyncDisposable {
  readonly listening: IstiodListening;
  readonly readinessPort: number;
  readonly authorityDirectory: string;
}

export async function startIstiod(
  cluster: TestCluster,
  options: { readonly authority?: AuthorityMaterial; readonly env?: NodeJS.ProcessEnv; readonly readinessPort?: number } = {},
): Promise<TestIstiod> {
  const stop = new AbortController();
  const host = '127.0.0.1';
  const any = { host, port: 0 };
  const readinessPort = options.readinessPort ?? 18_080;
  const authorityDirectory = path.join(cluster.stateDir, 'cacerts');
  if (options.authority !== undefined) {
    await writeAuthority(authorityDirectory, options.authority);
  }
  const env = {
    CLUSTER_ID: cluster.name,
    POD_NAME: 'istiod-0',
    ROOT_CA_DIR: authorityDirectory,
    ISTHMUS_IMAGE: 'isthmus:test',
    ...options.env,
  };
  const listen: IstiodConfig['listen'] = { tls: any, plaintext: any, monitoring: any, readiness: { host, port: readinessPort } };
  const { promise: ready, resolve, reject } = Promise.withResolvers<IstiodListening>();
  // With the permissions of the manifests and no others.
  const account = { namespace: 'istio-system', name: 'istiod' };
  const client = await clientAs(cluster.client, account, istiodManifests(installOptions));
  const running = runIstiod({ client, config: istiodConfig(env, { listen }), log: createLogger('istiod'), onReady: resolve }, stop.signal);
  running.then(() => reject(new Error('istiod ended')), reject);
  return {
    listening: await ready,
    readinessPort,
    authorityDirectory,
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await running;
      client[Symbol.dispose]();
      assert.deepEqual(await refusedTo(cluster.server, account), [], 'requests that its permissions do not allow');
    },
  };
}

/** A proxy's view of the mesh, kept by a real client over the wire. */
export class Proxy implements AsyncDisposable {
  readonly workloads = new Map<string, Workload>();
  readonly services = new Map<string, Service>();
  readonly policies = new Map<string, Authorization>();
  /** Names in the order in which they came, of all types; a removed one with a minus. */
  readonly heard: string[] = [];
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  readonly #checks = new Set<() => void>();

  constructor(options: {
    readonly url: string;
    readonly tls: ClientTls;
    readonly token?: string;
    readonly namespace?: string;
    readonly serviceAccount?: string;
  }) {
    const { namespace = 'istio-system', serviceAccount = 'ztunnel' } = options;
    const client = new XdsClient({
      url: options.url,
      tls: () => options.tls,
      headers: () => (options.token === undefined ? {} : { authorization: `Bearer ${options.token}` }),
      node: {
        id: `ztunnel~10.10.0.1~ztunnel-1.${namespace}~${namespace}.svc.cluster.local`,
        metadata: { NAMESPACE: namespace, SERVICE_ACCOUNT: serviceAccount, NODE_NAME: 'node-1' },
      },
      backoff: { initial: 20, max: 100 },
      subscriptions: [
        {
          typeUrl: typeUrls.address,
          handle: ({ resources: all, removed }) => {
            for (const { name, body } of all) {
              const { type } = fromBinary(AddressSchema, body);
              if (type.case === 'workload') this.workloads.set(name, type.value);
              else if (type.case === 'service') this.services.set(name, type.value);
              this.heard.push(name);
            }
            for (const name of removed) {
              this.workloads.delete(name);
              this.services.delete(name);
              this.heard.push(`-${name}`);
            }
            this.#changed();
            return undefined;
          },
        },
        {
          typeUrl: typeUrls.authorization,
          handle: ({ resources: all, removed }) => {
            for (const { name, body } of all) this.policies.set(name, fromBinary(AuthorizationSchema, body));
            for (const name of removed) this.policies.delete(name);
            this.#changed();
            return undefined;
          },
        },
      ],
      onState: (state) => {
        this.state = state.kind;
        this.#changed();
      },
      log: createLogger('proxy'),
    });
    this.#running = client.run(this.#stop.signal);
  }

  state: 'connecting' | 'connected' | 'synced' | 'disconnected' = 'connecting';

  /** Resolves when the view is as wanted. */
  async until(what: string, is: () => boolean): Promise<void> {
    if (is()) return;
    const { promise, resolve, reject } = Promise.withResolvers<undefined>();
    const timer = setTimeout(() => reject(new IsthmusError('ISTHMUS_TIMEOUT', `${what}: not so after 10 s`)), 10_000);
    const check = (): void => {
      if (is()) resolve(undefined);
    };
    this.#checks.add(check);
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      this.#checks.delete(check);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  #changed(): void {
    for (const check of this.#checks) check();
  }
}

/** Asks the certificate service as ztunnel does. */
export async function requestCertificate(options: {
  readonly url: string;
  readonly tls: ClientTls;
  readonly token?: string;
  readonly identity: string;
  readonly impersonate?: boolean;
}): Promise<readonly string[]> {
  const stop = new AbortController();
  using connection = await connectGrpc({ url: options.url, tls: options.tls, signal: stop.signal });
  const { csr } = await createSigningRequest(options.identity);
  const request = create(IstioCertificateRequestSchema, {
    csr,
    validityDuration: 3600n,
    ...(options.impersonate === true && { metadata: { ImpersonatedIdentity: options.identity } }),
  });
  const headers: Record<string, string> = options.token === undefined ? {} : { authorization: `Bearer ${options.token}` };
  const { certChain } = await createClient(IstioCertificateService, connection.transport).createCertificate(request, { headers });
  return certChain;
}
