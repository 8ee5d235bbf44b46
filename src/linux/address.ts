import { isIPv4, isIPv6 } from 'node:net';

import { IsthmusError } from '../core/index.ts';
import { AF_INET, AF_INET6, AF_UNIX } from './libc.ts';

/** An IP address and a port. IPv4 is always dotted, also where the kernel speaks of ::ffff:a.b.c.d. */
export interface SocketAddress {
  readonly address: string;
  readonly port: number;
}

/** Longest struct sockaddr that this room handles (sockaddr_in6). */
export const sockaddrSize = 28;

/** The address family of an IP address in text; ISTHMUS_CONFIG_INVALID for anything else. */
export function familyOf(address: string): typeof AF_INET | typeof AF_INET6 {
  if (isIPv4(address)) return AF_INET;
  if (isIPv6(address)) return AF_INET6;
  throw new IsthmusError('ISTHMUS_CONFIG_INVALID', `"${address}" is not an IP address`);
}

/** `a.b.c.d` for `::ffff:a.b.c.d`, else the address itself. */
export function unmapped(address: string): string {
  return address.startsWith('::ffff:') && isIPv4(address.slice(7)) ? address.slice(7) : address;
}

/** struct sockaddr_in or sockaddr_in6. */
export function encodeSockaddr({ address, port }: SocketAddress): Buffer {
  if (familyOf(address) === AF_INET) {
    const buffer = Buffer.alloc(16);
    buffer.writeUInt16LE(AF_INET, 0);
    buffer.writeUInt16BE(port, 2);
    address.split('.').forEach((part, index) => buffer.writeUInt8(Number(part), 4 + index));
    return buffer;
  }
  const buffer = Buffer.alloc(sockaddrSize);
  buffer.writeUInt16LE(AF_INET6, 0);
  buffer.writeUInt16BE(port, 2);
  ipv6Groups(address).forEach((group, index) => buffer.writeUInt16BE(group, 8 + 2 * index));
  return buffer;
}

/** The inverse of {@link encodeSockaddr}. */
export function decodeSockaddr(buffer: Buffer): SocketAddress {
  const family = buffer.readUInt16LE(0);
  const port = buffer.readUInt16BE(2);
  if (family === AF_INET) return { address: [...buffer.subarray(4, 8)].join('.'), port };
  if (family !== AF_INET6) throw new IsthmusError('ISTHMUS_INTERNAL', `socket address of unknown family ${family}`);
  const groups = Array.from({ length: 8 }, (_, index) => buffer.readUInt16BE(8 + 2 * index));
  return { address: unmapped(ipv6Text(groups)), port };
}

/** struct sockaddr_un of a path in the file system. */
export function encodeUnixAddress(path: string): Buffer {
  const bytes = Buffer.from(path);
  if (bytes.length === 0 || bytes.length > 107) {
    throw new IsthmusError('ISTHMUS_CONFIG_INVALID', `"${path}" cannot be the path of a unix socket: it must have 1 to 107 bytes`);
  }
  const buffer = Buffer.alloc(2 + bytes.length + 1);
  buffer.writeUInt16LE(AF_UNIX, 0);
  bytes.copy(buffer, 2);
  return buffer;
}

function ipv6Groups(text: string): number[] {
  const withoutZone = text.split('%', 1)[0] ?? '';
  // A dotted tail counts as two groups.
  const address = withoutZone.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, a: string, b: string, c: string, d: string) =>
    [(Number(a) << 8) | Number(b), (Number(c) << 8) | Number(d)].map((group) => group.toString(16)).join(':'),
  );
  const [head = '', tail] = address.split('::');
  const parse = (part: string | undefined): number[] =>
    part === undefined || part === '' ? [] : part.split(':').map((group) => parseInt(group, 16));
  const before = parse(head);
  const after = parse(tail);
  return [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after];
}

/** RFC 5952: the longest run of zero groups is `::`; a mapped IPv4 address ends dotted. */
function ipv6Text(groups: readonly number[]): string {
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) {
    const [high = 0, low = 0] = groups.slice(6);
    return `::ffff:${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`;
  }
  let best = { start: 0, length: 0 };
  for (let start = 0; start < 8; start++) {
    let length = 0;
    while (start + length < 8 && groups[start + length] === 0) length++;
    if (length > best.length) best = { start, length };
  }
  const text = groups.map((group) => group.toString(16));
  if (best.length < 2) return text.join(':');
  return `${text.slice(0, best.start).join(':')}::${text.slice(best.start + best.length).join(':')}`;
}
