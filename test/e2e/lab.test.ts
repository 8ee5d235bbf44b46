/**
 * The lab as its users meet it: `isthmus lab up` and an unmodified kubectl, without the mesh. Two clusters are real when kubectl
 * cannot tell them from others, when pods are processes with addresses of their own, and when the network between them is
 * what the lab says it is.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { statSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';

import { findKubectl, hostSnapshot, processesWith, repository, TestLab } from './lab-fixture.ts';

const found = findKubectl();
const kubectl = found ?? 'kubectl';
const lab = new TestLab(26741);
const samples = `${repository}/samples`;
let hostBefore = '';

/** A line of bash, with kubectl; throws when it fails. */
const sh = (script: string): Promise<string> => lab.bash(script, kubectl);

/** What a failing line of bash says on standard error, without the prelude's echo. */
async function fails(script: string): Promise<{ readonly code: number; readonly stderr: string }> {
  const { code, stderr } = await lab.try('bash', ['-c', `kubectl() { '${kubectl}' "$@"; }\n${script}`]);
  assert.notEqual(code, 0, `${script} succeeded`);
  return { code, stderr };
}

/** A table as rows of columns, without its heading, which is checked. */
function rows(table: string, ...heading: readonly string[]): string[][] {
  const [first = '', ...lines] = table.trimEnd().split('\n');
  assert.deepEqual(columns(first), heading);
  return lines.map(columns);
}

const columns = (line: string): string[] => line.trim().split(/ {2,}|\t/);

/** A program that goes on printing; resolves as soon as `wanted` is in what it printed. */
function follow(args: readonly string[]): { until(wanted: RegExp): Promise<string>; stop(): Promise<void> } {
  const child = spawn(kubectl, args, { env: lab.env, stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = once(child, 'close');
  let text = '';
  let check = (): void => undefined;
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      check();
    });
  }
  return {
    until: async (wanted) => {
      const { promise, resolve, reject } = Promise.withResolvers<string>();
      const timer = setTimeout(() => reject(new Error(`${args.join(' ')}: ${String(wanted)} is not in\n${text}`)), 20_000);
      check = () => {
        if (wanted.test(text)) resolve(text);
      };
      check();
      return await promise.finally(() => clearTimeout(timer));
    },
    stop: async () => {
      child.kill();
      await ended;
    },
  };
}

const name = (app: string): string => `${app}-[bcdf4-9]{1,10}-[a-z0-9]{5}`;
const age = '\\d+(?:s|m(?:\\d+s)?)';

describe(
  'the lab, by kubectl',
  { concurrency: false, skip: found === undefined ? 'no kubectl: neither KUBECTL_BIN nor one on PATH' : false },
  () => {
    before(async () => {
      hostBefore = hostSnapshot();
      const printed = await lab.isthmus('lab', 'up', '--port', '26741');
      assert.match(printed, new RegExp(`^export KUBECONFIG=${lab.kubeconfig}$`, 'm'));
    });

    after(async () => {
      await lab.remove();
      assert.equal(hostSnapshot(), hostBefore, 'the lab left something on the machine');
      assert.deepEqual(processesWith(lab.dir), [], 'the lab left processes behind');
    });

    test('the kubeconfig has a context a cluster, and only its owner can read it', async () => {
      assert.equal(await sh('kubectl config get-contexts -o name'), 'cluster-1\ncluster-2\n');
      assert.equal(statSync(lab.kubeconfig).mode & 0o777, 0o600);
    });

    test('version, nodes and namespaces', async () => {
      assert.match(await sh('kubectl --context cluster-1 version'), /Server Version: v1\.\d+\.\d+/);
      for (const number of [1, 2]) {
        const [node] = rows(await sh(`kubectl --context cluster-${number} get nodes`), 'NAME', 'STATUS', 'ROLES', 'AGE', 'VERSION');
        assert.deepEqual(node?.slice(0, 2), [`cluster-${number}-control-plane`, 'Ready']);
        const wide = await sh(`kubectl --context cluster-${number} get nodes -o wide`);
        assert.match(wide, new RegExp(`\\s172\\.18\\.0\\.${number + 1}\\s`));
      }
      const namespaces = rows(await sh('kubectl --context cluster-1 get ns'), 'NAME', 'STATUS', 'AGE');
      assert.deepEqual(
        namespaces.map(([namespace]) => namespace),
        ['default', 'kube-node-lease', 'kube-public', 'kube-system'],
      );
    });

    test('create namespace, label, apply from a file and from standard input', async () => {
      for (const [context, version] of [
        ['cluster-1', 'v1'],
        ['cluster-2', 'v2'],
      ]) {
        assert.equal(await sh(`kubectl --context ${context} create namespace demo`), 'namespace/demo created\n');
        assert.equal(await sh(`kubectl --context ${context} label namespace demo team=one`), 'namespace/demo labeled\n');
        const applied = await sh(`
        kubectl --context ${context} apply -n demo -f ${samples}/sleep-client.yaml
        sed 's/VERSION_PLACEHOLDER/${version}/g' ${samples}/global-service.yaml | kubectl --context ${context} apply -n demo -f -`);
        assert.equal(
          applied,
          'serviceaccount/sleep created\nservice/sleep created\ndeployment.apps/sleep created\nservice/global-service created\ndeployment.apps/global-service created\n',
        );
      }
      assert.match(
        (await fails('kubectl --context cluster-1 label namespace demo team=two')).stderr,
        /already has a value \(one\), and --overwrite is false/,
      );
      assert.equal(await sh('kubectl --context cluster-1 label namespace demo team=two --overwrite'), 'namespace/demo labeled\n');
      assert.equal(await sh("kubectl --context cluster-1 get ns demo -o jsonpath='{.metadata.labels.team}'"), 'two');
    });

    test('rollout status and wait', async () => {
      for (const context of ['cluster-1', 'cluster-2']) {
        assert.match(
          await sh(`kubectl --context ${context} -n demo rollout status deploy/global-service --timeout=60s`),
          /^deployment "global-service" successfully rolled out$/m,
        );
        assert.equal(
          await sh(`kubectl --context ${context} -n demo wait --for=condition=Available deploy/sleep --timeout=60s`),
          'deployment.apps/sleep condition met\n',
        );
        assert.match(
          await sh(`kubectl --context ${context} -n demo wait --for=condition=Ready pod -l app=sleep --timeout=60s`),
          /condition met/,
        );
      }
    });

    test('tables, wide tables, all namespaces, selectors', async () => {
      const pods = rows(await sh('kubectl --context cluster-1 get pods -n demo'), 'NAME', 'READY', 'STATUS', 'RESTARTS', 'AGE');
      assert.equal(pods.length, 3);
      for (const [pod = '', ready, status, restarts, old = ''] of pods) {
        assert.match(pod, new RegExp(`^(${name('global-service')}|${name('sleep')})$`));
        assert.deepEqual([ready, status, restarts], ['1/1', 'Running', '0']);
        assert.match(old, new RegExp(`^${age}$`));
      }
      const wide = rows(
        await sh('kubectl --context cluster-1 get pods -n demo -l app=global-service -o wide'),
        ...['NAME', 'READY', 'STATUS', 'RESTARTS', 'AGE', 'IP', 'NODE', 'NOMINATED NODE', 'READINESS GATES'],
      );
      assert.equal(wide.length, 2);
      assert.ok(
        wide.every((row) => /^10\.10\.\d+\.\d+$/.test(row[5] ?? '') && row[6] === 'cluster-1-control-plane'),
        JSON.stringify(wide),
      );
      const everywhere = await sh('kubectl --context cluster-1 get deploy -A');
      assert.deepEqual(
        rows(everywhere, 'NAMESPACE', 'NAME', 'READY', 'UP-TO-DATE', 'AVAILABLE', 'AGE').map((row) => row.slice(0, 5)),
        [
          ['demo', 'global-service', '2/2', '2', '2'],
          ['demo', 'sleep', '1/1', '1', '1'],
        ],
      );
      const services = rows(
        await sh('kubectl --context cluster-1 get svc -A'),
        'NAMESPACE',
        'NAME',
        'TYPE',
        'CLUSTER-IP',
        'EXTERNAL-IP',
        'PORT(S)',
        'AGE',
      );
      assert.deepEqual(
        services.map(([namespace, service]) => `${namespace ?? ''}/${service ?? ''}`),
        ['default/kubernetes', 'demo/global-service', 'demo/sleep', 'kube-system/kube-dns'],
      );
      assert.ok(services.every((row) => row[3]?.startsWith('10.255.10.')));
      assert.match(
        await sh("kubectl --context cluster-1 get pods -n demo -l 'app notin (sleep),version in (v1,v2)' -o name"),
        /^(pod\/global-service-\S+\n){2}$/,
      );
      assert.match(await sh('kubectl --context cluster-1 get all -n demo'), /replicaset\.apps\/sleep-/);
      assert.equal(
        (await lab.try(kubectl, ['--context', 'cluster-1', 'get', 'pods', '-n', 'nowhere'])).stderr,
        'No resources found in nowhere namespace.\n',
      );
    });

    test('yaml, json, jsonpath, field selectors, raw', async () => {
      const parsed = JSON.parse(await sh('kubectl --context cluster-1 get deploy global-service -n demo -o json')) as {
        status: { availableReplicas: number };
        spec: { replicas: number };
      };
      assert.deepEqual([parsed.spec.replicas, parsed.status.availableReplicas], [2, 2]);
      assert.match(
        await sh('kubectl --context cluster-1 get svc global-service -n demo -o yaml'),
        /^ {4}solo\.io\/service-scope: global$/m,
      );
      const ips = await sh("kubectl --context cluster-1 get pods -n demo -l app=global-service -o jsonpath='{.items[*].status.podIP}'");
      assert.match(ips, /^10\.10\.\d+\.\d+ 10\.10\.\d+\.\d+$/);
      assert.match(
        await sh(
          'kubectl --context cluster-1 get pods -A --field-selector spec.nodeName=cluster-1-control-plane,status.phase=Running -o name',
        ),
        /pod\/sleep-/,
      );
      assert.equal(await sh('kubectl --context cluster-1 get --raw /readyz'), 'ok');
    });

    test('a namespace has its account and its CA', async () => {
      assert.match(
        await sh('kubectl --context cluster-1 get sa,cm -n demo'),
        /serviceaccount\/default[^]*serviceaccount\/sleep[^]*configmap\/kube-root-ca\.crt/,
      );
    });

    test('describe, with events', async () => {
      const pod = await sh('kubectl --context cluster-1 describe pod -n demo -l app=sleep');
      for (const line of [
        /^Controlled By: {2}ReplicaSet\/sleep-[bcdf4-9]+$/m,
        /^ +Normal +Scheduled +\S+ +default-scheduler +Successfully assigned demo\/sleep-\S+ to cluster-1-control-plane$/m,
        /^ +Normal +Pulled +\S+ +kubelet +Container image "curlimages\/curl" already present on machine/m,
        /^ +Normal +Started +\S+ +kubelet /m,
        /^Node: +cluster-1-control-plane\/172\.18\.0\.2$/m,
      ]) {
        assert.match(pod, line);
      }
      const deployment = await sh('kubectl --context cluster-1 describe deploy -n demo sleep');
      for (const line of [
        /^Replicas: +1 desired \| 1 updated \| 1 total \| 1 available \| 0 unavailable$/m,
        /^ +Available +True +MinimumReplicasAvailable$/m,
        /^ +Progressing +True +NewReplicaSetAvailable$/m,
        /^NewReplicaSet: +sleep-[bcdf4-9]+ \(1\/1 replicas created\)$/m,
        /^ +Normal +ScalingReplicaSet +\S+ +deployment-controller +Scaled up replica set sleep-[bcdf4-9]+ from 0 to 1$/m,
      ]) {
        assert.match(deployment, line);
      }
      const service = await sh('kubectl --context cluster-1 describe svc -n demo global-service');
      assert.match(service, /^Endpoints: +10\.10\.\d+\.\d+:5000,10\.10\.\d+\.\d+:5000$/m);
      assert.match(await sh('kubectl --context cluster-1 describe ns demo'), /^Status: +Active$/m);
      assert.match(await sh('kubectl --context cluster-1 describe node cluster-1-control-plane'), /^ +Ready +True /m);
    });

    test('exec: output, exit codes, standard input, a terminal', async () => {
      assert.match(
        await sh('kubectl --context cluster-1 exec -n demo deploy/sleep -- cat /etc/resolv.conf'),
        /^search demo\.svc\.cluster\.local svc\.cluster\.local cluster\.local\nnameserver 10\.255\.10\.10\noptions ndots:5$/m,
      );
      assert.deepEqual(await fails('kubectl --context cluster-1 exec -n demo deploy/sleep -- sh -c "exit 7"'), {
        code: 7,
        stderr: 'command terminated with exit code 7\n',
      });
      assert.equal(
        await sh('printf "one\\ntwo\\n" | kubectl --context cluster-1 exec -i -n demo deploy/sleep -- wc -l').then((text) => text.trim()),
        '2',
      );
      const terminal = `script -qec "'${kubectl}' --context cluster-1 exec -it -n demo deploy/sleep -- sh -c 'test -t 0 && test -t 1 && tty'" /dev/null < /dev/null`;
      assert.match(await sh(terminal), /\/dev\/pts\/\d+/);
      assert.match(await sh('kubectl --context cluster-1 exec -n demo deploy/sleep -- hostname'), new RegExp(`^${name('sleep')}\n$`));
    });

    test('names and ClusterIPs lead to every pod, and to nothing that is not there', async () => {
      const script = 'for i in $(seq 20); do curl -s -m 5 global-service:5000/hello; done | sort | uniq -c | sort';
      const answers = await sh(`kubectl --context cluster-1 exec -n demo deploy/sleep -- sh -c '${script}'`);
      assert.equal([...answers.matchAll(/Hello version: v1, instance: global-service-/g)].length, 2, answers);
      for (const host of [
        'global-service',
        'global-service.demo',
        'global-service.demo.svc',
        'global-service.demo.svc.cluster.local',
        'global-service.demo.svc.cluster.local.',
      ]) {
        assert.match(
          await sh(`kubectl --context cluster-1 exec -n demo deploy/sleep -- curl -s -m 5 http://${host}:5000/hello`),
          /^Hello version: v1/,
          host,
        );
      }
      const unknown = await fails('kubectl --context cluster-1 exec -n demo deploy/sleep -- curl -sS -m 5 http://nobody.example.com/');
      assert.match(unknown.stderr, /Could not resolve host: nobody\.example\.com/);
      const refused = await fails('kubectl --context cluster-1 exec -n demo deploy/sleep -- curl -sS -m 5 http://sleep/');
      assert.match(refused.stderr, /Failed to connect|Could not connect|Connection refused/);
      assert.match(
        await sh('kubectl --context cluster-1 exec -n demo deploy/sleep -- curl -sk -m 5 https://kubernetes.default/version'),
        /"gitVersion"/,
      );
    });

    test('the network is flat: pods, ClusterIPs and load balancers of the other cluster answer', async () => {
      const [ip] = (
        await sh("kubectl --context cluster-2 get pods -n demo -l app=global-service -o jsonpath='{.items[*].status.podIP}'")
      ).split(' ');
      assert.match(ip ?? '', /^10\.20\./);
      const clusterIP = await sh("kubectl --context cluster-2 get svc -n demo global-service -o jsonpath='{.spec.clusterIP}'");
      await sh('kubectl --context cluster-2 -n demo patch svc global-service --type merge -p \'{"spec":{"type":"LoadBalancer"}}\'');
      await sh(
        "kubectl --context cluster-2 -n demo wait --for=jsonpath='{.status.loadBalancer.ingress[0].ip}' svc/global-service --timeout=30s",
      );
      const external = await sh(
        "kubectl --context cluster-2 get svc -n demo global-service -o jsonpath='{.status.loadBalancer.ingress[0].ip}'",
      );
      assert.match(external, /^172\.18\.202\.\d+$/);
      assert.match(
        await sh('kubectl --context cluster-2 get svc -n demo global-service'),
        new RegExp(`LoadBalancer +10\\.255\\.20\\.\\d+ +${external} +5000:3\\d{4}/TCP`),
      );
      for (const address of [ip, clusterIP, external]) {
        // The rules follow the API a moment later.
        const call = `for i in $(seq 50); do curl -s -m 1 http://${address ?? ''}:5000/hello && break; sleep 0.1; done`;
        assert.match(
          await sh(`kubectl --context cluster-1 exec -n demo deploy/sleep -- sh -c '${call}'`),
          /^Hello version: v2/,
          address ?? 'a pod',
        );
      }
    });

    test('scale, with a watch that sees it, and back', async () => {
      const watch = follow(['--context', 'cluster-1', 'get', 'deploy', 'global-service', '-n', 'demo', '-w']);
      await watch.until(/2\/2/);
      assert.equal(
        await sh('kubectl --context cluster-1 -n demo scale deploy/global-service --replicas=3'),
        'deployment.apps/global-service scaled\n',
      );
      await watch.until(/3\/3 +3 +3/);
      // All three answer, so that they have come far enough to hear when they are told to end.
      const all = `until [ "$(for i in $(seq 12); do curl -s -m 1 global-service:5000/hello; done | sort -u | wc -l)" = 3 ]; do :; done`;
      await sh(`kubectl --context cluster-1 exec -n demo deploy/sleep -- sh -c '${all}'`);
      await sh('kubectl --context cluster-1 -n demo scale deploy/global-service --replicas=0');
      await watch.until(/0\/0 +0 +0/);
      await watch.stop();
      await sh('kubectl --context cluster-1 -n demo wait --for=delete pod -l app=global-service --timeout=60s');
      const refused = await fails(
        'kubectl --context cluster-1 exec -n demo deploy/sleep -- curl -sS -m 5 http://global-service:5000/hello',
      );
      assert.equal(refused.code, 7, 'a service without pods refuses at once');
      await sh('kubectl --context cluster-1 -n demo scale deploy/global-service --replicas=2');
      await sh('kubectl --context cluster-1 -n demo rollout status deploy/global-service --timeout=60s');
    });

    test('a rolling update, its history and its undoing', async () => {
      await sh('kubectl --context cluster-1 -n demo set image deploy/global-service helloworld=docker.io/istio/examples-helloworld-v2');
      await sh('kubectl --context cluster-1 -n demo rollout status deploy/global-service --timeout=60s');
      assert.match(
        await sh('kubectl --context cluster-1 exec -n demo deploy/sleep -- curl -s -m 5 http://global-service:5000/hello'),
        /version: v2/,
      );
      assert.match(
        await sh('kubectl --context cluster-1 -n demo rollout history deploy/global-service'),
        /^REVISION +CHANGE-CAUSE\n1 +<none>\n2 +<none>$/m,
      );
      await sh('kubectl --context cluster-1 -n demo rollout undo deploy/global-service');
      await sh('kubectl --context cluster-1 -n demo rollout status deploy/global-service --timeout=60s');
      assert.match(
        await sh('kubectl --context cluster-1 exec -n demo deploy/sleep -- curl -s -m 5 http://global-service:5000/hello'),
        /version: v1/,
      );
    });

    test('logs: all, the last, followed, of the one before', async () => {
      await sh(`kubectl --context cluster-1 apply -n demo -f - <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: talker}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: talker
    image: curlimages/curl
    command: [sh, -c, 'i=0; while true; do i=$((i+1)); echo "line $i"; sleep 0.2; done']
---
apiVersion: v1
kind: Pod
metadata: {name: faller}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: faller
    image: curlimages/curl
    command: [sh, -c, 'echo "I fall"; sleep 0.3; exit 3']
YAML
kubectl --context cluster-1 -n demo wait --for=condition=Ready pod/talker --timeout=30s`);
      const following = follow(['--context', 'cluster-1', 'logs', '-n', 'demo', '-f', 'talker']);
      await following.until(/line 1\n[^]*line 5\n/);
      await following.stop();
      assert.match(await sh('kubectl --context cluster-1 logs -n demo talker --tail=1'), /^line \d+\n$/);
      await sh(
        "kubectl --context cluster-1 -n demo wait --for=jsonpath='{.status.containerStatuses[0].restartCount}'=1 pod/faller --timeout=30s",
      );
      assert.equal(await sh('kubectl --context cluster-1 logs -n demo faller -p'), 'I fall\n');
      const state = await sh(
        "kubectl --context cluster-1 get pod -n demo faller -o jsonpath='{.status.containerStatuses[0].lastState.terminated.exitCode}'",
      );
      assert.equal(state, '3');
      await sh(
        "kubectl --context cluster-1 -n demo wait --for=jsonpath='{.status.containerStatuses[0].state.waiting.reason}'=CrashLoopBackOff pod/faller --timeout=30s",
      );
      assert.match(
        await sh('kubectl --context cluster-1 describe pod -n demo faller'),
        /^ +Warning +BackOff +\S+(?: \(x\d+ over \S+\))? +kubelet +Back-off restarting failed container/m,
      );
      assert.equal(
        await sh('kubectl --context cluster-1 delete pod -n demo talker faller'),
        'pod "talker" deleted\npod "faller" deleted\n',
      );
    });

    test('an image that there is not', async () => {
      await sh('kubectl --context cluster-1 run stranger -n demo --image=example.com/no/such:1');
      const watch = follow(['--context', 'cluster-1', 'get', 'pod', 'stranger', '-n', 'demo', '-w']);
      await watch.until(/0\/1 +(ErrImagePull|ImagePullBackOff)/);
      await watch.stop();
      const described = await sh('kubectl --context cluster-1 describe pod -n demo stranger');
      assert.match(described, /^ +Warning +Failed +\S+(?: \(x\d+ over \S+\))? +kubelet +Failed to pull image "example\.com\/no\/such:1"/m);
      assert.match(described, /^ +Warning +Failed +\S+(?: \(x\d+ over \S+\))? +kubelet +Error: ErrImagePull$/m);
      assert.equal(await sh('kubectl --context cluster-1 delete pod -n demo stranger'), 'pod "stranger" deleted\n');
    });

    test('server-side apply owns its fields', async () => {
      const applied = await sh(
        `sed 's/VERSION_PLACEHOLDER/v1/g' ${samples}/local-service.yaml | kubectl --context cluster-1 apply --server-side -n demo -f -`,
      );
      assert.equal(applied, 'service/local-service serverside-applied\ndeployment.apps/local-service serverside-applied\n');
      await sh('kubectl --context cluster-1 -n demo rollout status deploy/local-service --timeout=60s');
      const conflict = await fails(
        `sed 's/VERSION_PLACEHOLDER/v1/; s/replicas: 2/replicas: 4/' ${samples}/local-service.yaml | kubectl --context cluster-1 apply --server-side --field-manager=other -n demo -f -`,
      );
      assert.match(conflict.stderr, /Apply failed with 1 conflict: conflict with "kubectl": \.spec\.replicas/);
      assert.equal(
        await sh('kubectl --context cluster-1 -n demo delete deploy/local-service svc/local-service --cascade=foreground --timeout=60s'),
        'deployment.apps "local-service" deleted\nservice "local-service" deleted\n',
      );
      assert.equal(
        await sh('kubectl --context cluster-1 get rs,pods -n demo -l app=local-service -o name'),
        '',
        'what it made went before it',
      );
    });

    test("what is not there, not allowed or not valid gets the API's own error", async () => {
      const cases: readonly [script: string, stderr: RegExp][] = [
        ['kubectl --context cluster-1 get pod nope -n demo', /^Error from server \(NotFound\): pods "nope" not found$/m],
        ['kubectl --context cluster-1 get nope', /^error: the server doesn't have a resource type "nope"$/m],
        [
          'kubectl --context cluster-1 get --raw /apis/batch/v1/jobs',
          /^Error from server \(NotFound\): the server could not find the requested resource$/m,
        ],
        [
          'kubectl --context cluster-1 delete --raw /api/v1/namespaces',
          /^Error from server \(MethodNotAllowed\): the server does not allow this method on the requested resource$/m,
        ],
        ['kubectl --context cluster-1 create namespace demo', /^Error from server \(AlreadyExists\): namespaces "demo" already exists$/m],
        [
          'kubectl --context cluster-1 create namespace Not_Valid',
          /^The Namespace "Not_Valid" is invalid: metadata\.name: Invalid value: "Not_Valid": a lowercase RFC 1123 label must consist of/m,
        ],
        [
          `kubectl --context cluster-1 -n demo patch deploy sleep --type merge -p '{"spec":{"selector":{"matchLabels":{"app":"other"}}}}'`,
          /^The Deployment "sleep" is invalid: [^]*field is immutable/m,
        ],
        ['kubectl --context cluster-1 -n demo scale deploy/nope --replicas=1', /deployments\.apps "nope" not found/],
        ['kubectl --context cluster-1 -n demo logs nope', /pods "nope" not found/],
        ['kubectl --context cluster-1 top node', /^error: Metrics API not available$/m],
        [
          'kubectl --context cluster-1 -n demo get pods --as=nobody',
          /^Error from server \(Forbidden\): pods is forbidden: User "nobody" cannot list resource "pods" in API group "" in the namespace "demo"$/m,
        ],
      ];
      for (const [script, stderr] of cases) assert.match((await fails(script)).stderr, stderr, script);
      const unknownKind = await fails(
        `printf 'apiVersion: batch/v1\\nkind: Job\\nmetadata: {name: x}\\n' | kubectl --context cluster-1 apply -f -`,
      );
      assert.match(unknownKind.stderr, /no matches for kind "Job" in version "batch\/v1"/);
      const unknownField = await fails(
        `printf 'apiVersion: v1\\nkind: ConfigMap\\nmetadata: {name: x}\\ndatta: {}\\n' | kubectl --context cluster-1 apply -f -`,
      );
      assert.match(unknownField.stderr, /unknown field "datta"/);
    });

    test('killed, API server, controllers and node agent come back and go on', async () => {
      /** Of cluster-1, by name, from the table that `lab status` prints. */
      const processes = async (): Promise<Map<string, { pid: number; restarts: number }>> => {
        const table = (await lab.isthmus('lab', 'status')).split(/\n(?=cluster-\d)/).find((part) => part.startsWith('cluster-1 ')) ?? '';
        const lines = [...table.matchAll(/^ {2}([a-z]+) +(\d+) +(\d+) +\d+ MiB$/gm)];
        return new Map(lines.map(([, process = '', pid, restarts]) => [process, { pid: Number(pid), restarts: Number(restarts) }]));
      };
      for (const victim of ['controllers', 'node', 'apiserver']) {
        const { pid } = (await processes()).get(victim) ?? {};
        assert.ok(pid);
        await sh('kubectl --context cluster-1 -n demo scale deploy/global-service --replicas=4');
        // From outside the lab's PID namespace, as the operator or the kernel's OOM killer would.
        process.kill(pid, 'SIGKILL');
        await sh('until kubectl --context cluster-1 get --raw /readyz 2> /dev/null; do sleep 0.1; done');
        await sh('kubectl --context cluster-1 -n demo rollout status deploy/global-service --timeout=60s');
        await sh('kubectl --context cluster-1 -n demo scale deploy/global-service --replicas=2');
        await sh('kubectl --context cluster-1 -n demo rollout status deploy/global-service --timeout=60s');
        assert.equal((await processes()).get(victim)?.restarts, 1, victim);
        assert.match(
          await sh('kubectl --context cluster-1 exec -n demo deploy/sleep -- curl -s -m 5 http://global-service:5000/hello'),
          /version: v1/,
        );
      }
      const restarts = await sh(
        "kubectl --context cluster-1 get pods -n demo -o jsonpath='{.items[*].status.containerStatuses[*].restartCount}'",
      );
      assert.match(restarts, /^[0 ]+$/, 'pods outlive the node agent');
    });

    test('deleting a namespace takes everything in it', async () => {
      assert.equal(await sh('kubectl --context cluster-1 delete namespace demo --timeout=60s'), 'namespace "demo" deleted\n');
      assert.equal(
        (await fails('kubectl --context cluster-1 get ns demo')).stderr,
        'Error from server (NotFound): namespaces "demo" not found\n',
      );
      const left = execFileSync(kubectl, ['--context', 'cluster-1', 'get', '--raw', '/api/v1/namespaces/demo/pods'], {
        env: lab.env,
        encoding: 'utf8',
      });
      assert.deepEqual((JSON.parse(left) as { items: unknown[] }).items, []);
      assert.match(await sh('kubectl --context cluster-2 get pods -n demo -o name'), /pod\/sleep-/, 'the other cluster is another cluster');
    });
  },
);
