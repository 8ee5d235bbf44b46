import type { DaemonSet, Deployment, KubeObject, Pod } from '../../src/api/kubernetes.ts';
import { resources } from '../../src/api/resources.ts';
import { applyObjects } from '../../src/cli/apply.ts';
import type { KubeClient } from '../../src/kube/index.ts';
import type { AuthorityMaterial } from '../../src/pki/index.ts';

/** An Istio as Helm installs it: where its charts put things, and what of their manifests others read. */
export interface HelmInstalledIstio {
  readonly clusterId: string;
  readonly network: string;
  /** Of istiod; default istio-system. */
  readonly namespace?: string;
  /** Of ztunnel and the CNI agent; default that of istiod. */
  readonly dataPlaneNamespace?: string;
  /** `1-27` makes istiod-1-27 with ConfigMap istio-1-27; default none. */
  readonly revision?: string;
  readonly version?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** The CA: as Secret cacerts, and its roots as istio-ca-root-cert. */
  readonly authority: AuthorityMaterial;
  /** Name of the CA's Secret; default cacerts. */
  readonly authoritySecret?: string;
  /** CIDR of the only node. */
  readonly podRange: string;
  readonly trustDomain?: string;
}

/** Puts the objects of the charts istiod, ztunnel and cni into a cluster, with pods that are ready; nothing runs. */
export async function installWithHelm(client: KubeClient, istio: HelmInstalledIstio): Promise<void> {
  const { namespace = 'istio-system', dataPlaneNamespace = namespace } = istio;
  const { gatewayApiCrds, istioCrds } = await import('../../src/api/crds/index.ts');
  await applyObjects(client, [...gatewayApiCrds(), ...istioCrds()]);
  for (const name of new Set([namespace, dataPlaneNamespace])) await makeNamespace(client, name);
  await applyObjects(client, [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace, labels: { 'topology.istio.io/network': istio.network } } },
    node(istio.podRange),
    ...configuration(istio),
  ]);
  await applyObjects(client, [istiod(istio), cni(istio), ztunnel(istio)]);
  await makeReadyPod(client, { name: `${deploymentName(istio)}-5f7d-x`, namespace, labels: { app: 'istiod' } });
  await makeReadyPod(client, { name: 'ztunnel-abcde', namespace: dataPlaneNamespace, labels: { app: 'ztunnel' } });
  await makeReadyPod(client, { name: 'istio-cni-node-abcde', namespace: dataPlaneNamespace, labels: { 'k8s-app': 'istio-cni-node' } });
  for (const name of ['ztunnel', 'istio-cni-node']) {
    const status = { currentNumberScheduled: 1, desiredNumberScheduled: 1, numberMisscheduled: 0, numberReady: 1 };
    await client.patch(
      resources.daemonSets,
      { name, namespace: dataPlaneNamespace },
      { type: 'merge', body: { status } },
      { subresource: 'status' },
    );
  }
}

/** A namespace with the ServiceAccount that pods get. */
export async function makeNamespace(client: KubeClient, name: string, labels: Record<string, string> = {}): Promise<void> {
  await applyObjects(client, [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } },
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'default', namespace: name } },
  ]);
}

/** A pod that says of itself that it is ready; nothing runs. */
export async function makeReadyPod(
  client: KubeClient,
  { name, namespace, labels }: { readonly name: string; readonly namespace: string; readonly labels: Record<string, string> },
): Promise<void> {
  const spec = { containers: [{ name: 'main', image: 'example.com/nothing' }], nodeName: 'node-1' };
  const pod: Pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace, labels }, spec };
  await client.create(resources.pods, pod);
  await setReady(client, { name, namespace }, true);
}

/** Makes a pod ready or not ready, as the kubelet would. */
export async function setReady(
  client: KubeClient,
  ref: { readonly name: string; readonly namespace: string },
  ready: boolean,
): Promise<void> {
  const conditions = [{ type: 'Ready', status: ready ? 'True' : 'False' }];
  await client.patch(
    resources.pods,
    ref,
    { type: 'merge', body: { status: { phase: 'Running', podIP: '10.0.0.1', conditions } } },
    { subresource: 'status' },
  );
}

function deploymentName({ revision }: HelmInstalledIstio): string {
  return revision === undefined ? 'istiod' : `istiod-${revision}`;
}

function node(podRange: string): KubeObject {
  const object = { apiVersion: 'v1', kind: 'Node', metadata: { name: 'node-1' }, spec: { podCIDR: podRange, podCIDRs: [podRange] } };
  return object;
}

function configuration(istio: HelmInstalledIstio): KubeObject[] {
  const { namespace = 'istio-system', dataPlaneNamespace = namespace, revision, trustDomain = 'cluster.local', authority } = istio;
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  const mesh = {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: revision === undefined ? 'istio' : `istio-${revision}`, namespace },
    data: { mesh: `rootNamespace: ${namespace}\ntrustDomain: ${trustDomain}\n`, meshNetworks: 'networks: {}' },
  };
  const roots = {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'istio-ca-root-cert', namespace, labels: { 'istio.io/config': 'true' } },
    data: { 'root-cert.pem': authority.roots },
  };
  const secret = {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: istio.authoritySecret ?? 'cacerts', namespace },
    data: {
      'ca-cert.pem': base64(authority.certificate),
      'ca-key.pem': base64('not needed by those who look at it from outside'),
      'cert-chain.pem': base64(authority.chain),
      'root-cert.pem': base64(authority.roots),
    },
  };
  const cniConfig = {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'istio-cni-config', namespace: dataPlaneNamespace, labels: { app: 'istio-cni' } },
    data: { AMBIENT_ENABLED: 'true', AMBIENT_DNS_CAPTURE: 'true', AMBIENT_IPV6: 'true', CHAINED_CNI_PLUGIN: 'true' },
  };
  return [mesh, roots, secret, cniConfig];
}

function istiod(istio: HelmInstalledIstio): Deployment {
  const { namespace = 'istio-system', revision = 'default', version = '1.27.1', clusterId } = istio;
  const labels = { app: 'istiod', 'istio.io/rev': revision, 'app.kubernetes.io/name': 'istiod', 'app.kubernetes.io/version': version };
  const env = { REVISION: revision, PILOT_ENABLE_AMBIENT: 'true', ...istio.env, CLUSTER_ID: clusterId };
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: deploymentName(istio), namespace, labels, annotations: { 'meta.helm.sh/release-name': 'istiod' } },
    spec: {
      replicas: 1,
      selector: { matchLabels: { app: 'istiod', 'istio.io/rev': revision } },
      template: {
        metadata: { labels },
        spec: {
          serviceAccountName: 'default',
          containers: [{ name: 'discovery', image: `docker.io/istio/pilot:${version}-distroless`, args: ['discovery'], env: envList(env) }],
        },
      },
    },
  };
}

function ztunnel(istio: HelmInstalledIstio): DaemonSet {
  const { namespace = 'istio-system', dataPlaneNamespace = namespace, version = '1.27.1' } = istio;
  const control = `${deploymentName(istio)}.${namespace}.svc:15012`;
  const env = { CA_ADDRESS: control, XDS_ADDRESS: control, NETWORK: istio.network, ISTIO_META_CLUSTER_ID: istio.clusterId };
  return daemonSet({
    name: 'ztunnel',
    namespace: dataPlaneNamespace,
    podLabels: { app: 'ztunnel', 'app.kubernetes.io/version': version },
    container: {
      name: 'istio-proxy',
      image: `docker.io/istio/ztunnel:${version}-distroless`,
      args: ['proxy', 'ztunnel'],
      env: envList(env),
    },
  });
}

function cni(istio: HelmInstalledIstio): DaemonSet {
  const { namespace = 'istio-system', dataPlaneNamespace = namespace, version = '1.27.1' } = istio;
  return daemonSet({
    name: 'istio-cni-node',
    namespace: dataPlaneNamespace,
    podLabels: { 'k8s-app': 'istio-cni-node' },
    container: {
      name: 'install-cni',
      image: `docker.io/istio/install-cni:${version}-distroless`,
      envFrom: [{ configMapRef: { name: 'istio-cni-config' } }],
    },
  });
}

interface DaemonSetOptions {
  readonly name: string;
  readonly namespace: string;
  readonly podLabels: Record<string, string>;
  readonly container: NonNullable<NonNullable<DaemonSet['spec']>['template']['spec']>['containers'][number];
}

function daemonSet({ name, namespace, podLabels, container }: DaemonSetOptions): DaemonSet {
  return {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: { name, namespace, labels: { 'app.kubernetes.io/part-of': 'istio' } },
    spec: {
      selector: { matchLabels: podLabels },
      template: { metadata: { labels: podLabels }, spec: { serviceAccountName: 'default', containers: [container] } },
    },
  };
}

function envList(env: Readonly<Record<string, string>>): { name: string; value: string }[] {
  return Object.entries(env).map(([name, value]) => ({ name, value }));
}
