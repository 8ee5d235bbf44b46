import koffi, { type KoffiFunc } from 'koffi';

import { SyscallError } from './errors.ts';

/**
 * The C library's calls that Node does not offer, and the kernel's constants they take. Only this room uses them: the
 * other files of the room give them types and meaning.
 *
 * A call that fails returns a negative number and leaves the reason in errno, which {@link checked} turns into an error.
 */
const libc = koffi.load('libc.so.6');

function call<T extends (...args: never[]) => number | bigint>(declaration: string): KoffiFunc<T> {
  // koffi cannot derive TypeScript types from a C declaration; the two are kept next to each other below.
  return libc.func(declaration) as unknown as KoffiFunc<T>;
}

export const setns = call<(fd: number, type: number) => number>('int setns(int fd, int type)');
export const unshare = call<(flags: number) => number>('int unshare(int flags)');
export const ioctl = call<(fd: number, request: number) => number>('int ioctl(int fd, unsigned long request)');
/** The same call for requests that take a pointer. */
export const ioctlPointer = call<(fd: number, request: number, argument: Buffer) => number>(
  'int ioctl(int fd, unsigned long request, void *argument)',
);
/** For calls that the C library of Debian 12 has no function for; here with two integers. */
export const syscall = call<(number: number, first: number, second: number) => number | bigint>(
  'long syscall(long number, long first, long second)',
);
export const mount = call<(source: string | null, target: string, type: string | null, flags: number, data: string | null) => number>(
  'int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)',
);
export const umount2 = call<(target: string, flags: number) => number>('int umount2(const char *target, int flags)');
export const close = call<(fd: number) => number>('int close(int fd)');

export const socket = call<(domain: number, type: number, protocol: number) => number>('int socket(int domain, int type, int protocol)');
export const bind = call<(fd: number, address: Buffer, length: number) => number>('int bind(int fd, void *address, uint32_t length)');
export const listen = call<(fd: number, backlog: number) => number>('int listen(int fd, int backlog)');
export const connect = call<(fd: number, address: Buffer, length: number) => number>('int connect(int fd, void *address, uint32_t length)');
export const accept4 = call<(fd: number, address: null, length: null, flags: number) => number>(
  'int accept4(int fd, void *address, void *length, int flags)',
);
export const setsockopt = call<(fd: number, level: number, name: number, value: Buffer, length: number) => number>(
  'int setsockopt(int fd, int level, int name, void *value, uint32_t length)',
);
export const getsockopt = call<(fd: number, level: number, name: number, value: Buffer, length: Buffer) => number>(
  'int getsockopt(int fd, int level, int name, void *value, void *length)',
);
export const getsockname = call<(fd: number, value: Buffer, length: Buffer) => number>(
  'int getsockname(int fd, void *value, void *length)',
);
/** ssize_t: comes as a number while it is a safe integer. */
export const sendmsg = call<(fd: number, message: Buffer, flags: number) => number | bigint>(
  'int64_t sendmsg(int fd, void *message, int flags)',
);
export const recvmsg = call<(fd: number, message: Buffer, flags: number) => number | bigint>(
  'int64_t recvmsg(int fd, void *message, int flags)',
);

/** The address of a buffer's memory, for structures that hold pointers. Node keeps buffers off V8's heap: they never move. */
export const addressOf = (buffer: Buffer): bigint => koffi.address(buffer);

export const CLONE_NEWNET = 0x40000000;
export const NS_GET_NSTYPE = 0xb703;
export const SIOCGSKNS = 0x894c;

export const MS_BIND = 0x1000;
export const MNT_DETACH = 2;

export const AF_UNIX = 1;
export const AF_INET = 2;
export const AF_INET6 = 10;
export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SOCK_SEQPACKET = 5;
export const SOCK_NONBLOCK = 0o4000;
export const SOCK_CLOEXEC = 0o2000000;

export const SOL_IP = 0;
export const SOL_SOCKET = 1;
export const SOL_TCP = 6;
export const SOL_IPV6 = 41;
export const SO_REUSEADDR = 2;
export const SO_KEEPALIVE = 9;
export const SO_REUSEPORT = 15;
export const SO_MARK = 36;
/** Also IP6T_SO_ORIGINAL_DST. */
export const SO_ORIGINAL_DST = 80;
export const IP_TRANSPARENT = 19;
export const IP_BIND_ADDRESS_NO_PORT = 24;
export const IPV6_V6ONLY = 26;
export const IPV6_TRANSPARENT = 75;
export const TCP_NODELAY = 1;
export const TCP_KEEPIDLE = 4;
export const TCP_KEEPINTVL = 5;
export const TCP_KEEPCNT = 6;
export const TCP_USER_TIMEOUT = 18;

export const MSG_CTRUNC = 0x8;
export const MSG_TRUNC = 0x20;
export const MSG_DONTWAIT = 0x40;
export const MSG_NOSIGNAL = 0x4000;
export const MSG_CMSG_CLOEXEC = 0x40000000;
export const SCM_RIGHTS = 1;

const errnoNames = new Map(Object.entries(koffi.os.errno).map(([name, number]) => [number, name]));

/** The number that the last call of this file left in errno; valid until the next one. */
export const errno = (): number => koffi.errno();
export const EAGAIN = 11;
export const EINTR = 4;
export const ENOENT = 2;
export const ESRCH = 3;

/** The result of a call, or a {@link SyscallError} when it failed. */
export function checked(result: number | bigint, syscall: string, what: string, hint?: string): number {
  if (result >= 0) return Number(result);
  const number = koffi.errno();
  throw new SyscallError({
    syscall,
    what,
    errno: errnoNames.get(number) ?? `E${String(number)}`,
    number,
    ...(hint === undefined ? {} : { hint }),
  });
}

/** An int as the kernel reads it. */
export function int32(value: number): Buffer {
  const buffer = Buffer.alloc(4);
  buffer.writeInt32LE(value);
  return buffer;
}

export const poll = koffi.node.poll;
export type PollHandle = ReturnType<typeof poll>;
