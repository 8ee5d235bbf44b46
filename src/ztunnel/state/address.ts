import { isIPv4 as isIPv4Text } from 'node:net';

import ipaddr from 'ipaddr.js';

/**
 * Canonical text of an address of 4 or 16 bytes: dotted IPv4, RFC 5952 for IPv6. An IPv4-mapped address is IPv4, since
 * that is what it means on a dual-stack socket. Undefined for any other length.
 */
export function addressFromBytes(bytes: Uint8Array): string | undefined {
  if (bytes.length === 4) return bytes.join('.');
  if (bytes.length !== 16) return undefined;
  return canonical(ipaddr.fromByteArray([...bytes]));
}

/** Canonical text of an address in any notation, or undefined when it is none. */
export function parseAddress(text: string): string | undefined {
  // Four decimal parts without leading zeros are canonical as they stand.
  if (isIPv4Text(text)) return text;
  return text.includes(':') && ipaddr.IPv6.isValid(text) ? canonical(ipaddr.parse(text)) : undefined;
}

/** The address of a socket as libuv gives it, in canonical text: an IPv4 client of a dual-stack listener is IPv4. */
export function socketAddress(text: string | undefined): string {
  if (text === undefined) return '';
  // Most connections: IPv4 on a dual-stack listener.
  const mapped = text.startsWith('::ffff:') ? text.slice('::ffff:'.length) : text;
  if (isIPv4Text(mapped)) return mapped;
  return text.includes(':') ? (parseAddress(text.split('%', 1)[0] ?? '') ?? text) : text;
}

export function isIPv4(address: string): boolean {
  return !address.includes(':');
}

/** `10.0.0.1:80`, `[2001:db8::1]:80`. */
export function formatHostPort(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Splits `host:port`; undefined unless the port is a number of 16 bits and the host is a name or an address. */
export function parseHostPort(text: string): { host: string; port: number; isAddress: boolean } | undefined {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9_.-]+)):(\d{1,5})$/.exec(text);
  if (match === null) return undefined;
  const port = Number(match[3]);
  if (port > 65_535) return undefined;
  const v6 = match[1];
  if (v6 !== undefined) {
    const address = parseAddress(v6);
    return address === undefined ? undefined : { host: address, port, isAddress: true };
  }
  const host = match[2] ?? '';
  const address = parseAddress(host);
  return { host: address ?? host, port, isAddress: address !== undefined };
}

/** Whether `address` lies in the range; false when their families differ. */
export function rangeContains(range: { readonly address: string; readonly length: number }, address: string): boolean {
  const base = ipaddr.parse(range.address);
  const candidate = ipaddr.parse(address);
  return base.kind() === candidate.kind() && candidate.match(base, range.length);
}

export function isLoopback(address: string): boolean {
  return ipaddr.parse(address).range() === 'loopback';
}

function canonical(address: ipaddr.IPv4 | ipaddr.IPv6): string {
  if (address.kind() === 'ipv4') return address.toString();
  const v6 = address as ipaddr.IPv6;
  return v6.isIPv4MappedAddress() ? v6.toIPv4Address().toString() : v6.toRFC5952String();
}
