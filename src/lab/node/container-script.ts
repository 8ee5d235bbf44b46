import { existsSync } from 'node:fs';
import path from 'node:path';

import { fstab, hostRoot, readOnlyBind, type MountEntry } from '../images/host-root.ts';
import { paths } from '../paths.ts';

/** A file or folder of the node that a container sees. */
export interface ContainerMount {
  /** Absolute, on the node; it exists. */
  readonly source: string;
  /** Absolute, in the container. */
  readonly target: string;
  readonly kind: 'file' | 'folder';
  readonly readOnly: boolean;
  /** Mounts that appear below `source` on the node appear in the container (mountPropagation HostToContainer). */
  readonly propagate: boolean;
}

export interface ContainerScriptOptions {
  /** The container's own folder on the node, which holds all files named below. */
  readonly folder: string;
  readonly hostname: string;
  /** Of the pod's own /etc: hosts, resolv.conf, hostname. */
  readonly etc: Readonly<Record<string, string>>;
  readonly mounts: readonly ContainerMount[];
  /** Whether the repository and Node's compile cache are in it. */
  readonly checkout: boolean;
  readonly readOnlyRoot: boolean;
  /** Whether the kernel's settings in /proc can be changed: root may, without any capability, and they are the host's. */
  readonly privileged: boolean;
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly workingDir: string;
  /** Options of setpriv(1) that take privileges away. */
  readonly setpriv: readonly string[];
}

/** The files in a container's folder. */
export function containerFiles(folder: string) {
  return {
    shim: path.join(folder, 'shim.sh'),
    enter: path.join(folder, 'enter.sh'),
    root: path.join(folder, 'root'),
    fstab: path.join(folder, 'fstab'),
    /** What went wrong before the program ran. */
    setupLog: path.join(folder, 'setup.log'),
    /** Named pipes. */
    stdout: path.join(folder, 'stdout'),
    stderr: path.join(folder, 'stderr'),
    /** Of the container's first process, in the lab's PID namespace. */
    pid: path.join(folder, 'pid'),
    /** Its exit code as a shell sees it, once it has ended. */
    exit: path.join(folder, 'exit'),
    /** Named pipe: a line in it lets the shim go. */
    taken: path.join(folder, 'taken'),
    /** What the node agent has to know after a restart. */
    state: path.join(folder, 'state.json'),
  } as const;
}

/**
 * The shim, which waits for the container and writes down how it ended, whether or not a node agent runs. It is started
 * by `unshare --pid`, so that its first child is the first process of a new PID namespace. The program's output goes to
 * named pipes that are open both ways: without a reader it waits, and nobody gets a SIGPIPE. The shim keeps what is in them
 * until an agent has taken the exit code, and says so on `taken`.
 */
export function shimScript({ folder }: Pick<ContainerScriptOptions, 'folder'>): string {
  const files = containerFiles(folder);
  return `exec 5<>${quote(files.stdout)} 6<>${quote(files.stderr)} 7<>${quote(files.taken)}
unshare --mount --uts --ipc --propagation slave sh -eu ${quote(files.enter)} </dev/null 1>&5 2>&6 5>&- 6>&- 7>&- &
echo $! >${quote(files.pid)}
exec 3>&-
wait $!
echo $? >${quote(files.exit)}
read -r _ <&7
`;
}

/**
 * The container's first process, once its root is made: a shell that starts the program (its arguments), passes signals on and
 * reaps what is orphaned. The kernel drops a signal for the first process of a PID namespace unless that has a handler for it;
 * as a second one, a program is ended by a SIGTERM that comes before its handler is there. It has the program's privileges, no more.
 * What a shell starts in the background ignores SIGINT and SIGQUIT, and a shell cannot trap what it was started to ignore: both
 * times `env` puts them back. Only then the container counts as started, and signals come.
 *
 * `wait` returns when a signal was passed on, too; the program may then live on, or have been reaped at the same moment. Its
 * exit code is told a first time only: a second `wait` says 127.
 */
const initScript = `for signal in HUP INT QUIT TERM USR1 USR2; do trap "kill -$signal \\$! 2>/dev/null" $signal; done
env --default-signal=INT,QUIT sh -c 'echo started >&3; exec "$@" 2>&4 3>&- 4>&-' init "$@" &
program=$!
exec 2>&4 3>&- 4>&-
while wait $program 2>/dev/null; code=$?; kill -0 $program 2>/dev/null; do :; done
wait $program 2>/dev/null
again=$?
[ $again = 127 ] || code=$again
exit $code`;

/**
 * What the container's first process does before: makes the root file system in its own mount namespace.
 * Descriptor 3 hears a line once all is made and the program is started.
 */
export function enterScript(options: ContainerScriptOptions): string {
  const files = containerFiles(options.folder);
  const { links, mounts, copies } = hostRoot();
  const inRoot = (target: string): string => quote(path.join(files.root, target));
  const folders = new Set(['/dev', '/etc', '/proc', '/root', '/run', '/sys', '/tmp', '/var/tmp', ...mounts.map(({ target }) => target)]);
  const touched: string[] = [];
  if (options.checkout) folders.add(paths.checkout).add(paths.compileCache);
  for (const mount of options.mounts) {
    if (mount.kind === 'folder') folders.add(mount.target);
    else {
      folders.add(path.dirname(mount.target));
      touched.push(mount.target);
    }
  }
  const etc = Object.entries(options.etc).map(([name, content]) => `printf %s ${quote(content)} > ${inRoot(path.join('/etc', name))}`);
  return `exec 4>&2 2>${quote(files.setupLog)}
mkdir -p ${quote(files.root)}
mount -t tmpfs -o mode=755,size=512m container ${quote(files.root)}
cd ${quote(files.root)}
${links.map((link) => `ln -s ${quote(link.target)} .${link.path}`).join('\n')}
mkdir -p var && ln -s ../run var/run
mkdir -p ${[...folders].map((folder) => quote(`.${folder}`)).join(' ')}
chmod 1777 tmp var/tmp
cp ${copies.map(quote).join(' ')} etc
${etc.join('\n')}
ln -s /proc/self/mounts etc/mtab
${touched.length === 0 ? '' : `touch ${touched.map((file) => quote(`.${file}`)).join(' ')}`}
mount --all --fstab ${quote(files.fstab)}
hostname ${quote(options.hostname)}
pivot_root . .
umount -l .
${options.readOnlyRoot ? 'mount -o remount,bind,ro /' : ''}
mkdir -p ${quote(options.workingDir)} 2>/dev/null || :
cd ${quote(options.workingDir)}
exec setpriv --pdeathsig KILL ${options.setpriv.map(quote).join(' ')} -- env --default-signal=INT,QUIT sh -c ${quote(initScript)} init env -i ${Object.entries(
    options.env,
  )
    .map(([name, value]) => quote(`${name}=${value}`))
    .join(' ')} ${options.command.map(quote).join(' ')}
`;
}

/** The mounts of a container's root, for `mount --all`. */
export function containerFstab({ folder, mounts, checkout, privileged }: ContainerScriptOptions): string {
  const { root } = containerFiles(folder);
  const entries: MountEntry[] = [
    ...hostRoot().mounts,
    ...(checkout
      ? [
          ...readOnlyBind(paths.checkout, paths.checkout),
          { source: paths.compileCache, target: paths.compileCache, type: 'none', options: 'bind' },
        ]
      : []),
    { source: 'proc', target: '/proc', type: 'proc', options: 'nosuid,nodev,noexec' },
    ...(privileged ? [] : hiddenProc(root)),
    { source: 'sysfs', target: '/sys', type: 'sysfs', options: 'ro,nosuid,nodev,noexec' },
    // The node's /dev has only harmless devices; terminals and shared memory are the container's own.
    { source: '/dev', target: '/dev', type: 'none', options: 'rbind' },
    { source: 'none', target: '/dev', type: 'none', options: 'remount,bind,ro,nosuid,noexec' },
    { source: 'devpts', target: '/dev/pts', type: 'devpts', options: 'newinstance,ptmxmode=0666,mode=0620,nosuid,noexec' },
    { source: 'tmpfs', target: '/dev/shm', type: 'tmpfs', options: 'mode=1777,nosuid,nodev' },
    // A mount on a folder comes before the mounts below it.
    ...[...mounts].sort((a, b) => a.target.length - b.target.length).flatMap(volumeEntries),
  ];
  return fstab(entries, root);
}

/** The parts of /proc that runc makes read-only and those that it hides. */
function hiddenProc(root: string): readonly MountEntry[] {
  const there = (name: string): boolean => existsSync(path.join('/proc', name));
  const readOnly = ['bus', 'fs', 'irq', 'sys', 'sysrq-trigger'].filter(there);
  const masked = ['kcore', 'keys', 'sched_debug', 'timer_list', 'timer_stats'].filter(there);
  return [
    ...readOnly.flatMap((name) => [
      { source: path.join(root, 'proc', name), target: `/proc/${name}`, type: 'none', options: 'bind' },
      { source: 'none', target: `/proc/${name}`, type: 'none', options: 'remount,bind,ro,nosuid,nodev,noexec' },
    ]),
    ...masked.map((name) => ({ source: '/dev/null', target: `/proc/${name}`, type: 'none', options: 'bind' })),
  ];
}

function volumeEntries({ source, target, readOnly, propagate }: ContainerMount): readonly MountEntry[] {
  const bind = { source, target, type: 'none', options: propagate ? 'rbind' : 'bind' };
  return readOnly ? [bind, { source: 'none', target, type: 'none', options: 'remount,bind,ro' }] : [bind];
}

/** A word for sh. */
export function quote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
