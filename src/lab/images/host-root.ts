import { lstatSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import path from 'node:path';

/**
 * A root file system made of the host's own programs: a tmpfs with read-only binds, so that nothing of the host can be
 * written and no mount point is made on it. Nodes and containers are made of it; a container sees its node's copy.
 */

/** One line of an fstab(5), for `mount --all --fstab`: one process makes all mounts of a root. */
export interface MountEntry {
  /** A device, a file system's name, or the path that is bound. */
  readonly source: string;
  /** Absolute, inside the new root. */
  readonly target: string;
  readonly type: string;
  /** Comma-separated. */
  readonly options: string;
}

export interface HostRoot {
  readonly mounts: readonly MountEntry[];
  /** Links of a merged /usr: `/bin` to `usr/bin`. */
  readonly links: readonly { readonly path: string; readonly target: string }[];
  /** Small files that are copied rather than bound. */
  readonly copies: readonly string[];
}

const programFolders = ['/usr', '/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32'];

const etcFolders = ['/etc/alternatives', '/etc/ca-certificates', '/etc/iproute2', '/etc/pki', '/etc/ssl', '/etc/terminfo'];

const etcFiles = [
  '/etc/ca-certificates.conf',
  '/etc/debian_version',
  '/etc/group',
  '/etc/ld.so.cache',
  '/etc/ld.so.conf',
  '/etc/localtime',
  '/etc/mime.types',
  '/etc/nsswitch.conf',
  '/etc/os-release',
  '/etc/passwd',
  '/etc/profile',
  '/etc/protocols',
  '/etc/services',
];

/** What of the calling process's root makes up a new one. */
export function hostRoot(): HostRoot {
  const mountPoints = readMountPoints();
  const mounts: MountEntry[] = [];
  const links: { path: string; target: string }[] = [];
  for (const folder of [...programFolders, ...etcFolders]) {
    const stat = lstatSync(folder, { throwIfNoEntry: false });
    if (stat?.isSymbolicLink() === true) links.push({ path: folder, target: readlinkSync(folder) });
    else if (stat?.isDirectory() === true) mounts.push(...readOnlyBind(folder, folder, mountPoints));
  }
  const copies = etcFiles.filter((file) => statSync(file, { throwIfNoEntry: false })?.isFile() === true);
  return { mounts, links, copies };
}

/**
 * Entries that bind `source` to `target` read-only, with everything mounted below it. In a user namespace what is mounted
 * below is locked: it can neither be left out nor lose the flags it has, so that each is named and keeps them.
 */
export function readOnlyBind(
  source: string,
  target: string,
  mountPoints: readonly MountPoint[] = readMountPoints(),
): readonly MountEntry[] {
  const below = mountPoints.filter((mount) => mount.path.startsWith(`${source}/`));
  const own = lockedFlags(source, mountPoints);
  if (below.length === 0) return [{ source, target, type: 'none', options: ['bind', 'ro', ...own].join(',') }];
  return [
    { source, target, type: 'none', options: 'rbind' },
    { source: 'none', target, type: 'none', options: ['remount', 'bind', 'ro', ...own].join(',') },
    ...below.map((mount) => ({
      source: 'none',
      target: path.join(target, path.relative(source, mount.path)),
      type: 'none',
      options: ['remount', 'bind', 'ro', ...mount.flags].join(','),
    })),
  ];
}

export interface MountPoint {
  readonly path: string;
  /** Those of nosuid, nodev and noexec that it has. */
  readonly flags: readonly string[];
}

/** The mount points of the calling process, from /proc/self/mountinfo (proc(5)). */
export function readMountPoints(): readonly MountPoint[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const fields = line.split(' ');
      const where = (fields[4] ?? '').replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
      const flags = (fields[5] ?? '').split(',').filter((flag) => flag === 'nosuid' || flag === 'nodev' || flag === 'noexec');
      return { path: where, flags };
    });
}

/** The flags of the mount that a path is on, and nosuid and nodev, which a bind of programs can do without. */
function lockedFlags(source: string, mountPoints: readonly MountPoint[]): readonly string[] {
  let on: MountPoint = { path: '', flags: [] };
  for (const mount of mountPoints) {
    const within = mount.path === '/' || source === mount.path || source.startsWith(`${mount.path}/`);
    if (within && mount.path.length >= on.path.length) on = mount;
  }
  return [...new Set(['nosuid', 'nodev', ...on.flags])];
}

/** The text of an fstab with these entries below `root`. */
export function fstab(entries: readonly MountEntry[], root: string): string {
  return entries
    .map(({ source, target, type, options }) => `${encode(source)} ${encode(path.join(root, target))} ${type} ${options} 0 0\n`)
    .join('');
}

function encode(field: string): string {
  return field.replace(/[\s\\#]/g, (c) => `\\${c.charCodeAt(0).toString(8).padStart(3, '0')}`);
}
