import { readFileSync } from 'node:fs';

import type { IContainer, IPodSpec } from 'kubernetes-models/v1';

/** What containerd gives a container by default, without MKNOD: there is no device cgroup here that would hold it back. */
const defaultCapabilities = [
  'CHOWN',
  'DAC_OVERRIDE',
  'FOWNER',
  'FSETID',
  'KILL',
  'NET_BIND_SERVICE',
  'NET_RAW',
  'SETFCAP',
  'SETGID',
  'SETPCAP',
  'SETUID',
  'SYS_CHROOT',
  'AUDIT_WRITE',
];

/**
 * Options of setpriv(1) that take from a container's program what its security context does not give it. A user other than
 * root needs the lab to run as root: in a user namespace of an unprivileged user there is only one, and it stays.
 */
export function setprivOptions(pod: IPodSpec, container: IContainer, onlyRoot: boolean = hasOnlyRoot()): readonly string[] {
  const context = container.securityContext ?? {};
  const { runAsUser = pod.securityContext?.runAsUser, runAsGroup = pod.securityContext?.runAsGroup } = context;
  const options: string[] = [];
  if (context.privileged !== true) {
    const kept = keptCapabilities(context.capabilities?.add ?? [], context.capabilities?.drop ?? []);
    if (kept !== 'all') {
      const list = ['-all', ...kept.map((name) => `+${name.toLowerCase()}`)].join(',');
      options.push('--bounding-set', list, '--inh-caps', '-all');
    }
  }
  if (context.allowPrivilegeEscalation === false) options.push('--no-new-privs');
  if (!onlyRoot && (runAsUser ?? 0) !== 0) {
    const group = String(runAsGroup ?? runAsUser);
    options.push('--reuid', String(runAsUser), '--regid', group, '--clear-groups');
  }
  return options;
}

function keptCapabilities(add: readonly string[], drop: readonly string[]): readonly string[] | 'all' {
  const plain = (name: string): string => name.toUpperCase().replace(/^CAP_/, '');
  const added = add.map(plain);
  const dropped = new Set(drop.map(plain));
  if (added.includes('ALL') && dropped.size === 0) return 'all';
  const base = dropped.has('ALL') ? [] : defaultCapabilities.filter((name) => !dropped.has(name));
  return [...new Set([...base, ...added.filter((name) => name !== 'ALL')])].filter(known);
}

/** setpriv refuses names that it does not know; anything that is not a name at all would be an option. */
function known(name: string): boolean {
  return /^[A-Z_]+$/.test(name);
}

/** Whether user 0 is the only one of this user namespace. */
function hasOnlyRoot(): boolean {
  const [first = ''] = readFileSync('/proc/self/uid_map', 'utf8').trim().split('\n');
  return first.trim().split(/\s+/)[2] === '1';
}
