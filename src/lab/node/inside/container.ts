import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdirSync, readFileSync, readSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import type { Pod } from '../../../api/kubernetes.ts';
import { createLogger } from '../../../core/index.ts';
import { NetworkNamespace, openPseudoTerminal, processExit, processStartTime, runCommand } from '../../../linux/index.ts';
import { planClusters } from '../../network/plan.ts';
import { serveCniPlugin } from '../cni-plugin.ts';
import { spawnInContainer } from '../container-command.ts';
import type { ContainerScriptOptions } from '../container-script.ts';
import { Container } from '../container.ts';
import { LogFile } from '../log-file.ts';
import { createSandbox, podAddresses, removeSandbox, type Sandbox } from '../sandbox.ts';
import { setprivOptions } from '../security.ts';

/** Run by ../container.test.ts inside of a node. */

const stop = new AbortController();
const folder = '/var/lib/kubelet/pods/test';
const [plan] = planClusters(1, 20_000);
assert.ok(plan);

function pod(name: string): Pod {
  return { apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace: 'demo', uid: name } };
}

let counter = 0;
function options(command: readonly string[], more: Partial<ContainerScriptOptions> = {}): ContainerScriptOptions {
  return {
    folder: path.join(folder, String(counter++)),
    hostname: 'the-pod',
    etc: { hosts: '127.0.0.1 localhost\n', 'resolv.conf': 'nameserver 10.255.10.10\n', hostname: 'the-pod\n' },
    mounts: [],
    checkout: false,
    readOnlyRoot: false,
    privileged: false,
    command,
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', ANSWER: "it's 42" },
    workingDir: '/tmp',
    setpriv: setprivOptions({ containers: [] }, { name: 'c' }),
    ...more,
  };
}

async function run(command: readonly string[], more: Partial<ContainerScriptOptions> = {}, sandbox?: Sandbox) {
  const all = options(command, more);
  const log = new LogFile(path.join('/var/log/pods', `${path.basename(all.folder)}.log`));
  using namespace = sandbox === undefined ? undefined : NetworkNamespace.open(sandbox.attachment.netns);
  const container = await Container.start(all, namespace, log);
  return {
    container,
    log,
    output: async () => {
      const exit = await container.exited;
      let text = '';
      for await (const chunk of log.read()) text += chunk;
      return { exit, text };
    },
  };
}

before(async () => {
  mkdirSync(folder, { recursive: true });
  await serveCniPlugin({ plan, log: createLogger('test') }, stop.signal);
});
after(() => stop.abort());

test('a container has its own root, host name, environment and process tree', async () => {
  const { output } = await run([
    '/bin/sh',
    '-c',
    'hostname; echo "$ANSWER"; pwd; cat /proc/1/comm; cat /etc/resolv.conf; ls -d /proc/[0-9]* | wc -l; ls /',
  ]);
  const { exit, text } = await output();
  assert.equal(exit.exitCode, 0);
  const lines = text.split('\n');
  assert.deepEqual(lines.slice(0, 5), ['the-pod', "it's 42", '/tmp', 'sh', 'nameserver 10.255.10.10']);
  assert.ok(Number(lines[5]) <= 5, `${lines[5] ?? ''} processes are seen`);
  assert.ok(!lines.includes('work') && !lines.includes('home'), text);
});

test('exit codes, signals and both outputs are kept', async () => {
  const first = await (await run(['/bin/sh', '-c', 'echo out; echo err >&2; printf "no end"; exit 7'])).output();
  assert.equal(first.exit.exitCode, 7);
  assert.deepEqual(new Set(first.text.split('\n')), new Set(['out', 'err', 'no end', '']));
  const second = await run(['/bin/sleep', 'infinity']);
  second.container.signal('SIGKILL');
  assert.equal((await second.output()).exit.exitCode, 137);
  assert.equal((await (await run(['/no/such/program'])).output()).exit.exitCode, 127);
});

test('a program has every signal from its first moment on, and its end is the end of the container', async () => {
  const ends = async (command: readonly string[], signal: NodeJS.Signals): Promise<number> => {
    const { container, output } = await run(command, { checkout: true });
    container.signal(signal);
    return (await output()).exit.exitCode;
  };
  for (const [signal, code] of [
    ['SIGTERM', 143],
    ['SIGINT', 130],
    ['SIGQUIT', 131],
    ['SIGHUP', 129],
  ] as const)
    assert.equal(await ends(['/bin/sleep', 'infinity'], signal), code, signal);
  // Node needs a while before a script can have a handler.
  assert.equal(await ends([process.execPath, '-e', 'setInterval(() => {}, 1000)'], 'SIGTERM'), 143);
  const killed = await run(['/bin/sh', '-c', 'sleep infinity & kill -KILL $$']);
  assert.equal((await killed.output()).exit.exitCode, 137);
});

test("a program's own handling of signals is left alone, and its orphans are reaped", async () => {
  const handles = `
grep -E 'Sig(Blk|Ign)' /proc/self/status
trap 'echo once more' HUP; trap 'echo bye; exit 5' TERM
(sh -c 'sleep 0 & echo $! > /tmp/orphan' &) ; until [ -s /tmp/orphan ]; do sleep 0.01; done
read -r orphan < /tmp/orphan; while [ -d /proc/$orphan ]; do sleep 0.01; done; echo reaped
echo straight to the log > /proc/1/fd/1
kill -HUP 1; kill -KILL 1; kill -TERM 1
while :; do sleep 0.05; done`;
  const { exit, text } = await (await run(['/bin/sh', '-c', handles])).output();
  assert.equal(exit.exitCode, 5, text);
  const none = '0000000000000000';
  assert.deepEqual(text.trim().split('\n'), [`SigBlk:\t${none}`, `SigIgn:\t${none}`, 'reaped', 'straight to the log', 'once more', 'bye']);
});

test('a program on a terminal sees the terminal by its name', async () => {
  const { container, output } = await run(['/bin/sleep', 'infinity']);
  const { master, slave } = openPseudoTerminal(`/proc/${String(container.record.pid)}/root/dev/pts`);
  const child = spawnInContainer(container.record, ['sh', '-c', 'tty; echo "$(tty)" $(ls -l /proc/self/fd /dev/pts)'], {
    terminal: true,
    stdio: [slave, slave, slave],
  });
  await once(child, 'exit');
  const printed = Buffer.alloc(4096);
  const text = printed.toString('utf8', 0, readSync(master, printed));
  closeSync(slave);
  closeSync(master);
  container.signal('SIGTERM');
  await output();
  assert.match(text, /^\/dev\/pts\/0\r\n/);
});

test('nothing of the node or the host can be written, and no device can be made', async () => {
  const script = `
for target in /usr/x /lib/x /etc/ssl/x /sys/x /dev/x /proc/sys/kernel/hostname /proc/sysrq-trigger; do echo no > $target && echo "wrote $target"; done
mknod /tmp/disk b 254 0 && echo "made a device"
mount -t tmpfs x /mnt && echo mounted
ip link add x type dummy && echo "changed the network"
echo fine > /tmp/x && cat /tmp/x
touch /somewhere && echo "own root"`;
  const { text } = await (await run(['/bin/sh', '-c', `exec 2>/dev/null; ${script}`])).output();
  assert.deepEqual(text.trim().split('\n'), ['fine', 'own root']);
});

test('volumes: files and folders, read-only or not', async () => {
  const source = '/var/lib/kubelet/volume';
  mkdirSync(source, { recursive: true });
  writeFileSync(path.join(source, 'file'), 'content\n');
  const mounts = [
    { source, target: '/data/deep', kind: 'folder', readOnly: true, propagate: false },
    { source, target: '/data', kind: 'folder', readOnly: false, propagate: false },
    { source: path.join(source, 'file'), target: '/etc/a file', kind: 'file', readOnly: true, propagate: false },
  ] as const;
  mkdirSync(path.join(source, 'deep'));
  const { text } = await (
    await run(
      ['/bin/sh', '-c', 'exec 2>&1; cat "/etc/a file" /data/deep/file; echo x > /data/deep/x || echo refused; echo new > /data/new'],
      { mounts },
    )
  ).output();
  assert.match(text, /^content\ncontent\n.*Read-only file system\nrefused\n$/);
  assert.equal(readFileSync(path.join(source, 'new'), 'utf8'), 'new\n');
});

test('a sandbox has an address by CNI, and the node and other pods reach it', async () => {
  const one = await createSandbox(pod('one'), path.join(folder, 'one.json'), stop.signal);
  const two = await createSandbox(pod('two'), path.join(folder, 'two.json'), stop.signal);
  assert.deepEqual(podAddresses(one), ['10.10.0.2']);
  assert.deepEqual(podAddresses(two), ['10.10.0.3']);
  const server = await run(
    [process.execPath, '/opt/isthmus/src/lab/images/helloworld.ts'],
    { checkout: true, hostname: 'helloworld-1' },
    one,
  );
  const get = ['curl', '-s', '-i', '--retry', '20', '--retry-connrefused', '--retry-delay', '1', 'http://10.10.0.2:5000/hello'];
  assert.match(await runCommand('curl', get.slice(1)), /^HTTP\/1.1 200 OK\r\n(?:.*\r\n)*\r\nHello version: v1, instance: helloworld-1\n$/);
  const client = await (await run(get, {}, two)).output();
  assert.match(client.text, /Hello version: v1, instance: helloworld-1/);
  const without = await (await run(['curl', '-sS', '--max-time', '3', 'http://10.10.0.99:5000/'], {}, two)).output();
  assert.equal(without.exit.exitCode, 7, without.text);
  server.container.signal('SIGTERM');
  assert.equal((await server.output()).exit.exitCode, 0);

  await removeSandbox(path.join(folder, 'one.json'));
  assert.equal(existsSync(one.attachment.netns), false);
  const three = await createSandbox(pod('three'), path.join(folder, 'three.json'), stop.signal);
  assert.deepEqual(podAddresses(three), ['10.10.0.4'], 'an address that became free is not given away at once');
  await removeSandbox(path.join(folder, 'two.json'));
  await removeSandbox(path.join(folder, 'three.json'));
  assert.doesNotMatch(await runCommand('ip', ['-br', 'link']), /veth/);
});

test("sandboxes and containers that are made at once do not get in each other's way", async () => {
  const names = Array.from({ length: 12 }, (_, i) => `many-${i}`);
  const made = await Promise.all(
    names.map(async (name) => {
      const sandbox = await createSandbox(pod(name), path.join(folder, `${name}.json`), stop.signal);
      const { text } = await (await run(['sh', '-c', 'ip -4 -o address show dev eth0; ip route get 10.10.0.1'], {}, sandbox)).output();
      return { sandbox, text };
    }),
  );
  for (const { sandbox, text } of made) {
    const [address = ''] = podAddresses(sandbox);
    assert.ok(text.includes(`inet ${address}/24`), text);
    assert.ok(text.includes(`dev eth0 src ${address}`), text);
    assert.match(await runCommand('ip', ['route', 'get', address]), /dev veth[0-9a-f]{8} src 10\.10\.0\.1/);
  }
  await Promise.all(names.map((name) => removeSandbox(path.join(folder, `${name}.json`))));
  assert.doesNotMatch(await runCommand('ip', ['-br', 'link']), /veth/);
});

test('a mount made on the node later appears in a container that asked for it', async () => {
  const mounts = [{ source: '/run/netns', target: '/host/netns', kind: 'folder', readOnly: false, propagate: true }] as const;
  const { container, output } = await run(
    ['/bin/sh', '-c', 'until [ -s /host/netns/late ] || grep -q /host/netns/late /proc/mounts; do sleep 0.02; done; echo seen'],
    { mounts },
  );
  using namespace = NetworkNamespace.create();
  namespace.bindTo('/run/netns/late');
  assert.equal((await output()).text, 'seen\n');
  assert.equal(container.running, false);
});

test('a container survives the one who started it: output and exit code are found again', async () => {
  const { container, log } = await run(['/bin/sh', '-c', 'echo before; read -r line < /tmp/go; echo after; exit 3'], {
    mounts: [{ source: makePipe(), target: '/tmp/go', kind: 'file', readOnly: false, propagate: false }],
  });
  const again = Container.adopt(container.record.folder, new LogFile('/var/log/pods/again.log'));
  assert.equal(again?.running, true);
  writeFileSync('/var/lib/kubelet/go', 'go\n');
  assert.equal((await again.exited).exitCode, 3);
  assert.equal((await container.exited).exitCode, 3);
  let text = readFileSync('/var/log/pods/again.log', 'utf8');
  for await (const chunk of log.read()) text += chunk;
  assert.match(text, /before/);
  assert.match(text, /after/);
});

test('a start that its agent did not live to see is ended', async () => {
  const { container } = await run(['sleep', 'infinity']);
  const { record } = container;
  rmSync(path.join(record.folder, 'state.json'));
  assert.equal(Container.adopt(record.folder, new LogFile('/var/log/pods/abandoned.log')), undefined);
  await processExit(record.shim, record.shimStart);
  assert.equal(processStartTime(record.pid), undefined);
});

function makePipe(): string {
  execFileSync('mkfifo', ['/var/lib/kubelet/go']);
  return '/var/lib/kubelet/go';
}
