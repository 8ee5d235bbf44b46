import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { IsthmusError } from '../../core/index.ts';

/**
 * The addresses of a node's pods, kept as files as the CNI plugin host-local does: one named by each address in use, with
 * its holder in it. An address that became free is given away again only after all others, so that those who still
 * believe in its old holder do not reach another pod.
 */
export class AddressPool {
  readonly #folder: string;
  readonly #base: number;
  readonly #size: number;

  /** `cidr` is IPv4; its first address is the gateway, its last the broadcast address. */
  constructor(cidr: string, folder: string) {
    const [network = '', prefix = ''] = cidr.split('/');
    this.#base = toNumber(network);
    this.#size = 2 ** (32 - Number(prefix));
    this.#folder = folder;
    mkdirSync(folder, { recursive: true });
  }

  /** The holder's address, a new one if it has none. Throws LAB_CNI when all are taken. */
  allocate(holder: string): string {
    const held = this.find(holder);
    if (held !== undefined) return held;
    const last = this.#last();
    const usable = this.#size - 3;
    for (let step = 1; step <= usable; step++) {
      const offset = 2 + ((last - 2 + step + usable) % usable);
      const address = toAddress(this.#base + offset);
      if (existsSync(path.join(this.#folder, address))) continue;
      writeFileSync(path.join(this.#folder, address), holder, { flag: 'wx' });
      writeFileSync(path.join(this.#folder, lastFile), address);
      return address;
    }
    throw new IsthmusError('LAB_CNI', `no free address is left among ${usable}`);
  }

  find(holder: string): string | undefined {
    return this.#addresses().find((address) => readFileSync(path.join(this.#folder, address), 'utf8') === holder);
  }

  release(holder: string): void {
    const address = this.find(holder);
    if (address !== undefined) rmSync(path.join(this.#folder, address), { force: true });
  }

  #addresses(): readonly string[] {
    return readdirSync(this.#folder).filter((name) => name !== lastFile);
  }

  /** Offset of the address given last; 1, the gateway's, when none was. */
  #last(): number {
    const file = path.join(this.#folder, lastFile);
    return existsSync(file) ? toNumber(readFileSync(file, 'utf8')) - this.#base : 1;
  }
}

const lastFile = 'last_reserved_ip.0';

function toNumber(address: string): number {
  return address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
}

function toAddress(number: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(number / 2 ** shift) % 256).join('.');
}
