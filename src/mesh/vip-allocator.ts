import type { ServiceEntry } from '../api/kubernetes.ts';
import { IsthmusError } from '../core/index.ts';
import { addressBytes, addressText, cidrBytes } from './addresses.ts';
import { allocatedAddresses, mayAllocate, type AllocatedAddress } from './service-entry.ts';

export interface VipAllocatorOptions {
  /** CIDR; default upstream's 240.240.0.0/16. */
  readonly ipv4Prefix?: string;
  /** CIDR; default upstream's 2001:2::/48. */
  readonly ipv6Prefix?: string;
}

/** Who an address is for. */
interface Claim {
  /** `namespace/name` of the ServiceEntry. */
  readonly key: string;
  readonly created: string;
  readonly given: boolean;
}

/**
 * Gives each host of a ServiceEntry without addresses one of each family, in sequence, never the same to two. What was
 * written into status.addresses is the memory: after a restart every entry keeps what it has. Where two entries have the
 * same address (two writers, a user's own), the user's counts, else the older entry's; the other gets a new one.
 */
export class VipAllocator {
  readonly #pools: readonly Pool[];
  readonly #claims = new Map<string, Map<string, Claim>>();
  readonly #addressesOf = new Map<string, readonly string[]>();

  constructor({ ipv4Prefix = '240.240.0.0/16', ipv6Prefix = '2001:2::/48' }: VipAllocatorOptions = {}) {
    this.#pools = [new Pool(ipv4Prefix), new Pool(ipv6Prefix)];
  }

  /** Takes note of an entry as it is now; returns the keys of entries that share an address with it and may have to move. */
  observe(key: string, entry: ServiceEntry): readonly string[] {
    this.forget(key);
    const given = (entry.spec.addresses ?? []).length > 0;
    const texts = given ? (entry.spec.addresses ?? []) : allocatedAddresses(entry).map(({ value }) => value);
    const addresses = texts.flatMap((text) => normalized(text) ?? []);
    const claim = { key, created: entry.metadata.creationTimestamp ?? '', given };
    const rivals = new Set<string>();
    for (const address of addresses) {
      const claims = this.#claims.get(address) ?? new Map<string, Claim>();
      for (const rival of claims.keys()) rivals.add(rival);
      claims.set(key, claim);
      this.#claims.set(address, claims);
    }
    this.#addressesOf.set(key, addresses);
    return [...rivals];
  }

  forget(key: string): void {
    for (const address of this.#addressesOf.get(key) ?? []) {
      const claims = this.#claims.get(address);
      claims?.delete(key);
      if (claims?.size === 0) this.#claims.delete(address);
    }
    this.#addressesOf.delete(key);
  }

  /**
   * What status.addresses of an observed entry should be: what it has, where that is rightly its own, and new addresses
   * for the rest. Undefined when that is what it has. New addresses are taken at once; `observe` what was really written.
   */
  wanted(key: string, entry: ServiceEntry): readonly AllocatedAddress[] | undefined {
    const hosts = [...new Set(entry.spec.hosts)].filter((host) => mayAllocate(entry, host));
    const has = allocatedAddresses(entry);
    const reserved: string[] = [];
    const wanted = hosts.flatMap((host) =>
      this.#pools.map((pool) => {
        const kept = has.find((one) => one.host === host && pool.contains(one.value) && this.#isOwn(one.value, key));
        const value = kept?.value ?? pool.next((address) => this.#claims.has(address));
        if (kept === undefined) {
          this.#claims.set(value, new Map([[key, { key, created: entry.metadata.creationTimestamp ?? '', given: false }]]));
          reserved.push(value);
        }
        return { value, host };
      }),
    );
    this.#addressesOf.set(key, [...(this.#addressesOf.get(key) ?? []), ...reserved]);
    const same = wanted.length === has.length && wanted.every(({ value, host }, at) => has[at]?.value === value && has[at].host === host);
    return same ? undefined : wanted;
  }

  #isOwn(text: string, key: string): boolean {
    const claims = [...(this.#claims.get(normalized(text) ?? '')?.values() ?? [])];
    const [first] = claims.sort((a, b) => Number(b.given) - Number(a.given) || compare(a.created, b.created) || compare(a.key, b.key));
    return first?.key === key;
  }
}

/** Hands out the addresses of a prefix from its second one on, and begins again at the end. */
class Pool {
  readonly #base: bigint;
  readonly #size: bigint;
  readonly #bytes: number;
  #last = 0n;

  constructor(prefix: string) {
    const parsed = cidrBytes(prefix);
    if (parsed === undefined || parsed.length > parsed.address.length * 8 - 2) {
      throw new IsthmusError('ISTHMUS_CONFIG_INVALID', `"${prefix}" is no prefix to allocate addresses from`);
    }
    this.#bytes = parsed.address.length;
    this.#size = 1n << BigInt(this.#bytes * 8 - parsed.length);
    this.#base = toNumber(parsed.address) & ~(this.#size - 1n);
  }

  contains(text: string): boolean {
    const bytes = addressBytes(text);
    if (bytes?.length !== this.#bytes) return false;
    const number = toNumber(bytes);
    return number > this.#base && number < this.#base + this.#size;
  }

  next(taken: (address: string) => boolean): string {
    for (let tries = 0n; tries < this.#size; tries++) {
      this.#last = this.#last + 1n >= this.#size ? 1n : this.#last + 1n;
      const address = addressText(toBytes(this.#base + this.#last, this.#bytes));
      if (!taken(address)) return address;
    }
    throw new IsthmusError('MESH_ADDRESSES_EXHAUSTED', 'no address is left for the hosts of ServiceEntries', {
      hint: 'give entries addresses of their own in spec.addresses, or remove unused entries',
    });
  }
}

function normalized(text: string): string | undefined {
  const bytes = addressBytes(text);
  return bytes === undefined ? undefined : addressText(bytes);
}

function toNumber(bytes: Uint8Array): bigint {
  return bytes.reduce((number, byte) => (number << 8n) | BigInt(byte), 0n);
}

function toBytes(number: bigint, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, at) => Number((number >> BigInt(8 * (length - 1 - at))) & 0xffn));
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
