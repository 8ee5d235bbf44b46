import ipaddr from 'ipaddr.js';

import { addressBytes, addressText } from '../mesh/index.ts';

type Range = readonly [address: ipaddr.IPv4 | ipaddr.IPv6, bits: number];

/** CIDRs that can be asked whether they hold an address or overlap others. */
export class AddressRanges {
  static readonly none = new AddressRanges([]);
  readonly #ranges: readonly Range[];

  private constructor(ranges: readonly Range[]) {
    this.#ranges = ranges;
  }

  /** Undefined when one of the texts is no CIDR. */
  static parse(texts: readonly string[]): AddressRanges | undefined {
    const ranges: Range[] = [];
    for (const text of texts) {
      if (!ipaddr.isValidCIDR(text)) return undefined;
      ranges.push(ipaddr.parseCIDR(text));
    }
    return new AddressRanges(ranges);
  }

  /** Those of the texts that are CIDRs. */
  static parseValid(texts: readonly string[]): AddressRanges {
    return new AddressRanges(texts.filter((text) => ipaddr.isValidCIDR(text)).map((text) => ipaddr.parseCIDR(text)));
  }

  get isEmpty(): boolean {
    return this.#ranges.length === 0;
  }

  /** An address as 4 or 16 bytes. */
  has(bytes: Uint8Array): boolean {
    const address = ipaddr.fromByteArray([...bytes]);
    return this.#ranges.some((range) => contains(range, address));
  }

  /** A range of ours and one of the others' that share addresses; undefined when there are none. */
  overlap(others: AddressRanges): readonly [string, string] | undefined {
    for (const a of this.#ranges) {
      for (const b of others.#ranges) {
        // Two CIDRs overlap exactly when the shorter prefix holds the other's address.
        if (a[1] <= b[1] ? contains(a, b[0]) : contains(b, a[0])) return [textOf(a), textOf(b)];
      }
    }
    return undefined;
  }
}

function contains([network, bits]: Range, address: ipaddr.IPv4 | ipaddr.IPv6): boolean {
  if (network instanceof ipaddr.IPv4) return address instanceof ipaddr.IPv4 && address.match(network, bits);
  return address instanceof ipaddr.IPv6 && address.match(network, bits);
}

function textOf([address, bits]: Range): string {
  return `${address.toString()}/${bits}`;
}

/** From here on (class E) are the addresses that mesh names have. */
const firstReserved = 240;

/** An address at which a pod can be: not loopback, link-local, multicast, unspecified or reserved, whatever a peer's ranges say. */
export function isPodAddress(bytes: Uint8Array): boolean {
  if (bytes.length !== 4 && bytes.length !== 16) return false;
  if (bytes.length === 4 && (bytes[0] ?? 0) >= firstReserved) return false;
  const range = ipaddr.fromByteArray([...bytes]).range();
  return !['unspecified', 'broadcast', 'multicast', 'linkLocal', 'loopback', 'ipv4Mapped'].includes(range);
}

/** An address in the one way of writing that equal addresses share; undefined when it is none. */
export function canonicalAddress(text: string): string | undefined {
  const bytes = addressBytes(text);
  return bytes === undefined ? undefined : addressText(bytes);
}
