import { isIP } from 'node:net';

import { create } from '@bufbuild/protobuf';
import ipaddr from 'ipaddr.js';

import { NetworkAddressSchema, type NetworkAddress } from '../api/gen/istio/workload_pb.js';

/** The 4 or 16 bytes of an address; undefined for anything that is not one (a zone index is not one either). */
export function addressBytes(text: string): Uint8Array | undefined {
  if (isIP(text) === 0 || text.includes('%')) return undefined;
  return Uint8Array.from(ipaddr.parse(text).toByteArray());
}

/** The text of 4 or 16 bytes, IPv6 in its shortest form: what keys and aliases are made of. */
export function addressText(bytes: Uint8Array): string {
  return ipaddr.fromByteArray([...bytes]).toString();
}

/** Bytes and length of `address` or `address/length`; host bits stay. Undefined for anything else. */
export function cidrBytes(text: string): { readonly address: Uint8Array; readonly length: number } | undefined {
  const [address = '', length, ...more] = text.split('/');
  const bytes = addressBytes(address);
  if (bytes === undefined || more.length > 0) return undefined;
  const full = bytes.length * 8;
  if (length === undefined) return { address: bytes, length: full };
  if (!/^\d{1,3}$/.test(length) || Number(length) > full) return undefined;
  return { address: bytes, length: Number(length) };
}

/** A VIP, or a range of them with host bits cleared; a range of one address is that address. Undefined if it is neither. */
export function networkAddress(network: string, text: string): NetworkAddress | undefined {
  const parsed = cidrBytes(text);
  if (parsed === undefined) return undefined;
  const { address, length } = parsed;
  if (length === address.length * 8) return create(NetworkAddressSchema, { network, address });
  const masked = address.map((byte, at) => byte & (0xff00 >> Math.max(0, Math.min(8, length - at * 8))));
  return create(NetworkAddressSchema, { network, address: masked, length });
}
