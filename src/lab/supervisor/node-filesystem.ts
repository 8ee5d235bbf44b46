import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync } from 'node:fs';
import path from 'node:path';
import { text } from 'node:stream/consumers';

import { IsthmusError } from '../../core/index.ts';
import { fstab, hostRoot, readOnlyBind, type MountEntry } from '../images/host-root.ts';
import { nodeNetworkNamespace } from '../network/fabric.ts';
import type { ClusterPlan } from '../network/plan.ts';
import { paths } from '../paths.ts';

export interface NodeFilesystemOptions {
  readonly plan: ClusterPlan;
  /** The repository; it becomes /opt/isthmus. */
  readonly checkout: string;
  /** An empty directory of the lab: where the new root is made before it becomes the root. */
  readonly mountPoint: string;
  /** The cluster's own directory on the host; it becomes /var/lib/isthmus. */
  readonly clusterDirectory: string;
  /** Where Node keeps compiled modules from one run to the next. */
  readonly compileCache: string;
}

/**
 * A node's mount and UTS namespace, with its network namespace: a root of its own, with `/run`, `/etc/cni`, `/opt/cni` and
 * `/var/lib/kubelet` in memory. It lives as long as this object holds it open, or a process is in it.
 */
export class NodeNamespaces implements Disposable {
  readonly #network: string;
  readonly #descriptors: { readonly mount: number; readonly uts: number };

  private constructor(network: string, descriptors: { mount: number; uts: number }) {
    this.#network = network;
    this.#descriptors = descriptors;
  }

  /** Makes the namespaces; the network namespace must be there already. Throws LINUX_COMMAND_FAILED. */
  static async create(options: NodeFilesystemOptions): Promise<NodeNamespaces> {
    const network = nodeNetworkNamespace(options.plan);
    const args = [`--net=${network}`, 'unshare', '--mount', '--uts', '--propagation', 'private', 'sh', '-euc', setupScript(options)];
    const child = spawn('nsenter', args, { stdio: ['pipe', 'pipe', 'pipe'] });
    const said = text(child.stderr);
    const made = Promise.withResolvers<true>();
    child.stdout.once('data', () => made.resolve(true));
    child.once('error', made.reject);
    child.once('close', (code) => {
      void said.then((why) => {
        made.reject(
          new IsthmusError(
            'LINUX_COMMAND_FAILED',
            `the file system of ${options.plan.nodeName} was not made (exit code ${code ?? 'none'}): ${why.trim()}`,
          ),
        );
      });
    });
    await made.promise;
    const open = (kind: string): number => openSync(`/proc/${child.pid ?? 0}/ns/${kind}`, 'r');
    const namespaces = new NodeNamespaces(network, { mount: open('mnt'), uts: open('uts') });
    child.stdin.end();
    return namespaces;
  }

  /** The command that runs `command` as a process of the node, in place of itself: exit code, signals and pid are direct. */
  enter(command: readonly string[]): readonly string[] {
    const held = (fd: number): string => `/proc/${process.pid}/fd/${fd}`;
    return [
      'nsenter',
      `--net=${this.#network}`,
      `--uts=${held(this.#descriptors.uts)}`,
      `--mount=${held(this.#descriptors.mount)}`,
      '--',
      ...command,
    ];
  }

  [Symbol.dispose](): void {
    closeSync(this.#descriptors.mount);
    closeSync(this.#descriptors.uts);
  }
}

const devices = ['null', 'zero', 'full', 'random', 'urandom', 'tty'].filter((name) => existsSync(`/dev/${name}`));

function setupScript({ plan, checkout, mountPoint, clusterDirectory, compileCache }: NodeFilesystemOptions): string {
  const { mounts, links, copies } = hostRoot();
  const memory = (target: string, mode = '755'): MountEntry => ({
    source: 'tmpfs',
    target,
    type: 'tmpfs',
    options: `mode=${mode},nosuid,nodev`,
  });
  const entries: MountEntry[] = [
    ...mounts,
    ...readOnlyBind(checkout, paths.checkout),
    { source: clusterDirectory, target: paths.cluster, type: 'none', options: 'bind' },
    { source: compileCache, target: paths.compileCache, type: 'none', options: 'bind' },
    { source: 'proc', target: '/proc', type: 'proc', options: 'nosuid,nodev,noexec' },
    { source: 'sysfs', target: '/sys', type: 'sysfs', options: 'ro,nosuid,nodev,noexec' },
    memory('/run'),
    memory('/tmp', '1777'),
    ...devices.map((name) => ({ source: `/dev/${name}`, target: `/dev/${name}`, type: 'none', options: 'bind' })),
    { source: 'devpts', target: '/dev/pts', type: 'devpts', options: 'newinstance,ptmxmode=0666,mode=0620,nosuid,noexec' },
    memory('/dev/shm', '1777'),
  ];
  const folders = [
    ...mounts.map(({ target }) => target),
    ...['/dev/pts', '/dev/shm', '/etc/cni/net.d', '/opt/cni/bin', '/proc', '/run', '/root', '/sys', '/tmp', '/var/lib/kubelet/pods'],
    ...[paths.checkout, paths.cluster, paths.compileCache],
  ];
  const inRoot = (target: string): string => quote(path.join(mountPoint, target));
  return `
mount -t tmpfs -o mode=755 isthmus-node ${quote(mountPoint)}
mkdir -p ${folders.map(inRoot).join(' ')}
${links.map((link) => `ln -s ${quote(link.target)} ${inRoot(link.path)}`).join('\n')}
ln -s ../run ${inRoot('/var/run')}
ln -s /proc/self/mounts ${inRoot('/etc/mtab')}
cp -L ${copies.map(quote).join(' ')} ${inRoot('/etc')}
for name in ${devices.join(' ')}; do : > ${inRoot('/dev')}/$name; done
ln -s pts/ptmx ${inRoot('/dev/ptmx')}
ln -s /proc/self/fd ${inRoot('/dev/fd')}
for n in 0:stdin 1:stdout 2:stderr; do ln -s /proc/self/fd/\${n%%:*} ${inRoot('/dev')}/\${n##*:}; done
printf '%s\\n' '127.0.0.1 localhost' '${plan.nodeAddress} ${plan.nodeName}' > ${inRoot('/etc/hosts')}
printf '%s\\n' ${plan.nodeName} > ${inRoot('/etc/hostname')}
: > ${inRoot('/etc/resolv.conf')}
cat > ${inRoot('/fstab')} <<'FSTAB'
${fstab(entries, mountPoint)}FSTAB
mount --all --fstab ${inRoot('/fstab')}
rm ${inRoot('/fstab')}
mkdir -p ${inRoot('/run/netns')} ${inRoot(path.join(paths.cluster, 'log/pods'))}
ln -s ${paths.cluster}/log ${inRoot('/var/log')}
mount --bind ${inRoot('/run/netns')} ${inRoot('/run/netns')}
mount --make-shared ${inRoot('/run/netns')}
hostname ${plan.nodeName}
cd ${quote(mountPoint)}
pivot_root . .
umount -l .
cd /
echo made
read -r _ || :
`;
}

function quote(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}
