import { MNT_DETACH, MS_BIND, checked, mount, umount2 } from './libc.ts';

/** Makes a file or folder visible at another existing path of this process's mount namespace. LINUX_SYSCALL. */
export function bindMount(source: string, target: string): void {
  checked(mount(source, target, null, MS_BIND, null), 'mount', `bind ${source} to ${target}`);
}

/** Takes the topmost mount from a path, also while it is in use. LINUX_SYSCALL. */
export function unmount(target: string): void {
  checked(umount2(target, MNT_DETACH), 'umount2', target);
}
