import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { rm, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';

import { istioCrds } from '../../api/crds/index.ts';
import { TestServer } from './testing/test-server.ts';

const kubectlBinary = process.env['KUBECTL_BIN'] ?? 'kubectl';
const missing = spawnSync(kubectlBinary, ['version', '--client']).status !== 0 && 'no kubectl on PATH (KUBECTL_BIN names one)';

interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

describe('an unmodified kubectl', { skip: missing }, () => {
  let server: TestServer;
  let home: string;

  before(async () => {
    server = await TestServer.start();
    home = await mkdtemp(path.join(tmpdir(), 'kubectl-'));
    for (const crd of istioCrds()) await server.json('POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', crd);
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
    await rm(home, { recursive: true });
  });

  async function kubectl(line: string, input?: string): Promise<Result> {
    const { promise, resolve } = Promise.withResolvers<Result>();
    const child = execFile(
      kubectlBinary,
      line.split(' '),
      { env: { PATH: process.env['PATH'], HOME: home, KUBECONFIG: server.pki.files.adminKubeconfig }, timeout: 20_000 },
      (error, stdout, stderr) => resolve({ code: error === null ? 0 : Number(error.code ?? 1), stdout, stderr }),
    );
    child.stdin?.end(input);
    return await promise;
  }

  /** kubectl's output; fails when kubectl does. */
  async function output(line: string, input?: string): Promise<string> {
    const { code, stdout, stderr } = await kubectl(line, input);
    assert.equal(code, 0, `kubectl ${line}: ${stderr}`);
    return stdout;
  }

  const manifest = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: sleep}
---
apiVersion: v1
kind: Service
metadata: {name: web, labels: {app: web}}
spec:
  selector: {app: web}
  ports: [{name: http, port: 5000}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      serviceAccountName: sleep
      containers:
      - {name: web, image: example/web, ports: [{containerPort: 5000}]}
`;

  test('create namespace (a protobuf body), label --overwrite', async () => {
    assert.equal(await output('create namespace demo'), 'namespace/demo created\n');
    assert.equal(await output('label namespace demo istio.io/dataplane-mode=ambient --overwrite'), 'namespace/demo labeled\n');
    assert.equal(await output('label namespace demo istio.io/dataplane-mode=none --overwrite'), 'namespace/demo labeled\n');
    const refused = await kubectl('label namespace demo istio.io/dataplane-mode=ambient');
    assert.equal(refused.code, 1);
    assert.match(await output('get ns -l istio.io/dataplane-mode=none'), /^NAME +STATUS +AGE\ndemo +Active +\d+s\n$/);
  });

  test('apply -f on the client side: created, unchanged, configured', async () => {
    const created = 'serviceaccount/sleep created\nservice/web created\ndeployment.apps/web created\n';
    assert.equal(await output('apply -n demo -f -', manifest), created);
    assert.equal(await output('apply -n demo -f -', manifest), created.replaceAll('created', 'unchanged'));
    const configured = await output('apply -n demo -f -', manifest.replace('port: 5000}]', 'port: 5001}]'));
    assert.equal(configured, 'serviceaccount/sleep unchanged\nservice/web configured\ndeployment.apps/web unchanged\n');
    assert.equal(await output('get svc -n demo web -o jsonpath={.spec.ports[*].port}'), '5001');
  });

  test('apply refuses what the schema does not know', async () => {
    const { code, stderr } = await kubectl('apply -n demo -f -', manifest.replace('replicas: 1', 'replica: 1'));
    assert.equal(code, 1);
    assert.match(stderr, /unknown field "spec\.replica"/);
  });

  test('apply --server-side takes over what apply made, and shares', async () => {
    const applied = 'serviceaccount/sleep serverside-applied\nservice/web serverside-applied\ndeployment.apps/web serverside-applied\n';
    assert.equal(await output('apply -n demo --server-side -f -', manifest), applied);
    assert.equal(await output('get svc -n demo web -o jsonpath={.spec.ports[*].port}'), '5000');
    await output('scale -n demo deploy/web --replicas=3');
    const { code, stderr } = await kubectl('apply -n demo --server-side -f -', manifest);
    assert.equal(code, 1);
    assert.match(stderr, /conflict with "kubectl" with subresource "scale" using apps\/v1: \.spec\.replicas/);
    assert.equal(await output('apply -n demo --server-side --force-conflicts -f -', manifest), applied);
  });

  test('get in its forms', async () => {
    assert.match(
      await output('get all -n demo'),
      /NAME +TYPE +CLUSTER-IP[\s\S]+service\/web +ClusterIP +10\.96\.[\d.]+ +<none> +5000\/TCP[\s\S]+deployment\.apps\/web +0\/1/,
    );
    assert.match(await output('get svc -A'), /NAMESPACE +NAME[\s\S]+default +kubernetes +ClusterIP +10\.96\.0\.1 +<none> +443\/TCP/);
    assert.match(await output('get deploy -n demo -o wide'), /CONTAINERS +IMAGES +SELECTOR\nweb .* web +example\/web +app=web\n/);
    assert.equal(await output('get deploy -n demo -o name'), 'deployment.apps/web\n');
    assert.match(await output('get deploy web -n demo -o yaml'), /^apiVersion: apps\/v1\nkind: Deployment\n/);
    assert.equal((JSON.parse(await output('get deploy web -n demo -o json')) as { kind: string }).kind, 'Deployment');
    assert.equal(await output('get svc,deploy -n demo -l app=web -o name'), 'service/web\n');
    const { stderr, code } = await kubectl('get pod nope -n demo');
    assert.deepEqual([code, stderr], [1, 'Error from server (NotFound): pods "nope" not found\n']);
    assert.match((await kubectl('get nope')).stderr, /the server doesn't have a resource type "nope"/);
  });

  test('get -w prints changes as they come', async () => {
    const watched = output('get cm -n demo -w --request-timeout=3s');
    await output('create cm one -n demo --from-literal=a=b');
    await output('delete cm one -n demo');
    assert.match(await watched, /one +1 +\d+s/);
  });

  test('describe: the object, its events', async () => {
    const uid = await output('get svc web -n demo -o jsonpath={.metadata.uid}');
    await server.json('POST', '/api/v1/namespaces/demo/events', {
      metadata: { name: 'e' },
      involvedObject: { kind: 'Service', namespace: 'demo', name: 'web', uid, apiVersion: 'v1' },
      ...{ reason: 'Tried', message: 'as a test', type: 'Normal', source: { component: 'tester' }, count: 1 },
      ...{ firstTimestamp: new Date().toISOString(), lastTimestamp: new Date().toISOString() },
    });
    const text = await output('describe svc web -n demo');
    assert.match(text, /Type: +ClusterIP\n/);
    assert.match(text, /Normal +Tried +\S+ +tester +as a test/);
    assert.match(await output('describe deploy web -n demo'), /Replicas: +1 desired/);
  });

  test('wait and rollout status follow the status', async () => {
    const status = (body: object): Promise<unknown> =>
      server.json(
        'PATCH',
        '/apis/apps/v1/namespaces/demo/deployments/web/status',
        { status: body },
        { 'content-type': 'application/merge-patch+json' },
      );
    const generation = Number(await output('get deploy web -n demo -o jsonpath={.metadata.generation}'));
    const waiting = output('wait -n demo --for=condition=Available deploy/web --timeout=10s');
    const rolling = output('rollout status -n demo deploy/web --timeout=10s');
    await status({ observedGeneration: generation, replicas: 1, updatedReplicas: 1 });
    const condition = { type: 'Available', status: 'True', reason: 'MinimumReplicasAvailable', message: '' };
    await status({ readyReplicas: 1, availableReplicas: 1, conditions: [condition] });
    assert.equal(await waiting, 'deployment.apps/web condition met\n');
    assert.match(await rolling, /deployment "web" successfully rolled out\n$/);
  });

  test('custom resources: short names, columns, server-side apply, their own rules', async () => {
    const entry = (name: string, spec: string): string =>
      `apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {name: ${name}}\nspec: ${spec}\n`;
    const applied = 'workloadentry.networking.istio.io/w serverside-applied\n';
    assert.equal(await output('apply -n demo --server-side -f -', entry('w', '{address: 10.20.0.2, network: flat}')), applied);
    assert.match(await output('get we -n demo'), /^NAME +AGE +ADDRESS\nw +\d+s +10\.20\.0\.2\n$/);
    const configured = 'workloadentry.networking.istio.io/w configured\n';
    assert.equal(await output('apply -n demo -f -', entry('w', '{address: 10.20.0.3, network: flat}')), configured);
    const refused = await kubectl('apply -n demo -f -', entry('v', '{serviceAccount: x}'));
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /Address is required/);
  });

  test('create token, auth can-i, explain, api-resources', async () => {
    assert.match(await output('create token sleep -n demo --audience istio-ca'), /^[\w-]+\.[\w-]+\.[\w-]+\n?$/);
    assert.equal(await output('auth can-i list pods'), 'yes\n');
    const denied = await kubectl('auth can-i list pods --as system:serviceaccount:demo:sleep');
    assert.deepEqual([denied.code, denied.stdout], [1, 'no\n']);
    assert.match(await output('explain pod.spec.nodeName'), /FIELD: nodeName <string>/);
    assert.match(
      await output('api-resources --api-group=networking.istio.io'),
      /workloadentries +we +networking\.istio\.io\/v1 +true +WorkloadEntry/,
    );
  });

  test('delete waits until it is gone', async () => {
    assert.equal(await output('delete svc web -n demo'), 'service "web" deleted\n');
    assert.equal(
      await output('delete deploy,we --all -n demo'),
      'deployment.apps "web" deleted\nworkloadentry.networking.istio.io "w" deleted\n',
    );
    assert.match((await kubectl('get all -n demo')).stderr, /No resources found in demo namespace/);
  });
});
