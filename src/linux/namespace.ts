import { closeSync, existsSync, fstatSync, openSync, readFileSync, stat, writeFileSync } from 'node:fs';

import { IsthmusError } from '../core/index.ts';
import { CLONE_NEWNET, MS_BIND, NS_GET_NSTYPE, SIOCGSKNS, checked, ioctl, mount, setns, unshare } from './libc.ts';

/**
 * A Linux network namespace, held by a file descriptor: it exists at least until it is disposed of.
 *
 * setns(2) moves one thread, and Node's JavaScript runs on one: {@link NetworkNamespace.runInside} moves it there for the
 * time of one synchronous function. A socket belongs for ever to the namespace that it was made in.
 */
export class NetworkNamespace implements Disposable {
  /** Where it came from, for messages: a path, or a descriptor's number. */
  readonly name: string;
  /** Device and inode of the namespace, `4:4026531840`: equal only for the same namespace. */
  readonly identity: string;
  readonly inode: bigint;
  readonly #fd: number;
  #disposed = false;

  private constructor(fd: number, name: string) {
    this.#fd = fd;
    this.name = name;
    const { dev, ino } = fstatSync(fd, { bigint: true });
    this.inode = ino;
    this.identity = `${dev}:${ino}`;
  }

  /** The namespace at a path such as /var/run/netns/cni-1234 or /proc/42/ns/net. */
  static open(path: string): NetworkNamespace {
    return NetworkNamespace.#adopt(openSync(path, 'r'), path);
  }

  /** The namespace of a process. */
  static ofProcess(pid: number): NetworkNamespace {
    return NetworkNamespace.open(`/proc/${pid}/ns/net`);
  }

  /**
   * The namespace that a descriptor stands for, which is owned from now on: it is closed on dispose, and at once when it
   * is not a network namespace (LINUX_SYSCALL or LINUX_NOT_A_NAMESPACE).
   */
  static fromDescriptor(fd: number): NetworkNamespace {
    return NetworkNamespace.#adopt(fd, `descriptor ${fd}`);
  }

  /** A new namespace, with nothing but a loopback interface that is down. It is gone when all its holders are. */
  static create(): NetworkNamespace {
    return window(own(), () => {
      checked(unshare(CLONE_NEWNET), 'unshare', 'make a network namespace', 'CAP_SYS_ADMIN is needed');
      return NetworkNamespace.open('/proc/thread-self/ns/net');
    });
  }

  /** The namespace that this thread started in; it is shared and must not be disposed of. */
  static current(): NetworkNamespace {
    return own();
  }

  /** The namespace that a socket was made in; needs CAP_NET_ADMIN. */
  static ofSocket(fd: number): NetworkNamespace {
    return NetworkNamespace.fromDescriptor(checked(ioctl(fd, SIOCGSKNS), 'ioctl(SIOCGSKNS)', `namespace of socket ${fd}`));
  }

  static #adopt(fd: number, name: string): NetworkNamespace {
    try {
      const type = checked(ioctl(fd, NS_GET_NSTYPE), 'ioctl(NS_GET_NSTYPE)', `${name} as a network namespace`);
      if (type !== CLONE_NEWNET) throw new IsthmusError('LINUX_NOT_A_NAMESPACE', `${name} is a namespace of another kind than network`);
      return new NetworkNamespace(fd, name);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  /** The descriptor, to be passed to another process; it stays owned by this object. */
  get fd(): number {
    if (this.#disposed) throw new IsthmusError('ISTHMUS_INTERNAL', `network namespace ${this.name} is used after it was disposed of`);
    return this.#fd;
  }

  equals(other: NetworkNamespace): boolean {
    return this.identity === other.identity;
  }

  /**
   * Calls `fn` with this thread in the namespace and returns what it returns. `fn` must be synchronous: after the first
   * await it would go on outside. Windows may be nested. If the way back fails, the process is aborted, because
   * everything after would happen in the wrong network.
   */
  runInside<T>(fn: () => T): T {
    const enter = (): T => {
      checked(setns(this.fd, CLONE_NEWNET), 'setns', `enter network namespace ${this.name}`, 'CAP_SYS_ADMIN is needed');
      return fn();
    };
    // Staying where one is takes no capability, which a gateway for example does not have.
    const result = inside === undefined && this === own() ? fn() : window(this, enter);
    if (result instanceof Promise) {
      result.catch(() => undefined);
      throw new IsthmusError('ISTHMUS_INTERNAL', 'runInside was given an asynchronous function');
    }
    return result;
  }

  /** Whether IPv6 exists in the namespace and is not switched off on its loopback interface. */
  hasIpv6(): boolean {
    return this.runInside(() => {
      // procfs shows the settings of the reader's namespace.
      const setting = '/proc/sys/net/ipv6/conf/lo/disable_ipv6';
      return existsSync(setting) && readFileSync(setting, 'utf8').trim() === '0';
    });
  }

  /** Mounts the namespace on a new file, which keeps it alive and gives it a name (as `ip netns` and CNI runtimes do). */
  bindTo(path: string): void {
    writeFileSync(path, '', { mode: 0o444, flag: 'wx' });
    checked(mount(`/proc/self/fd/${this.fd}`, path, null, MS_BIND, null), 'mount', `bind network namespace to ${path}`);
  }

  [Symbol.dispose](): void {
    if (this.#disposed || this === ownNamespace) return;
    this.#disposed = true;
    closeSync(this.#fd);
  }
}

let ownNamespace: NetworkNamespace | undefined;

/** The thread's first namespace, opened before the first window. */
function own(): NetworkNamespace {
  if (ownNamespace === undefined) {
    // libuv makes its pool's threads at their first use, and a thread inherits the namespace of its maker for ever. This
    // use, whose result does not matter, makes them here, before any window is open.
    stat('/', () => undefined);
    ownNamespace = NetworkNamespace.open('/proc/thread-self/ns/net');
  }
  return ownNamespace;
}

/** Where the innermost open window has moved the thread. */
let inside: NetworkNamespace | undefined;

/** Calls `fn`, which moves the thread to `there`, and brings the thread back to where it was. */
function window<T>(there: NetworkNamespace, fn: () => T): T {
  const back = inside ?? own();
  const outer = inside;
  inside = there;
  try {
    return fn();
  } finally {
    inside = outer;
    if (setns(back.fd, CLONE_NEWNET) < 0) process.abort();
  }
}
