import { isIPv6 } from 'node:net';

import { applyNftables, type NetworkNamespace } from '../linux/index.ts';
import type { ProbeAddresses } from './config.ts';

/**
 * The rules of the node that let the kubelet's probes reach enrolled pods: what a process of root on the node opens to such
 * a pod gets a fixed link-local source address, which the pod's rules let through untouched. Without them probes would
 * come in as plaintext of an unknown client, which STRICT mutual TLS refuses.
 */
export class HostProbes {
  readonly #namespace: NetworkNamespace;
  readonly #addresses: ProbeAddresses;
  /** Address to the UID of the pod that has it: an address may move to the next pod before the last one is forgotten. */
  readonly #owners = new Map<string, string>();

  constructor(namespace: NetworkNamespace, addresses: ProbeAddresses) {
    this.#namespace = namespace;
    this.#addresses = addresses;
  }

  /** Installs the rules with the pods there are, replacing what an agent before us left. LINUX_COMMAND_FAILED. */
  async install(pods: Iterable<{ readonly uid: string; readonly addresses: readonly string[] }>): Promise<void> {
    this.#owners.clear();
    for (const { uid, addresses } of pods) for (const address of addresses) this.#owners.set(address, uid);
    const set = (name: string, type: string, isMember: (address: string) => boolean): string => {
      const elements = [...this.#owners].filter(([address]) => isMember(address)).map(([address, uid]) => element(address, uid));
      return `  set ${name} {\n    type ${type};\n${elements.length === 0 ? '' : `    elements = { ${elements.join(', ')} }\n`}  }\n`;
    };
    await this.#apply(
      [
        dropTable,
        `table inet ${hostTable} {\n`,
        set(sets.ipv4, 'ipv4_addr', (address) => !isIPv6(address)),
        set(sets.ipv6, 'ipv6_addr', isIPv6),
        '  chain postrouting {\n',
        // Before the masquerading of the cluster's network, which has priority 100 too or comes after.
        '    type nat hook postrouting priority 99; policy accept;\n',
        `    meta l4proto tcp meta skuid 0 ip daddr @${sets.ipv4} snat ip to ${this.#addresses.ipv4}\n`,
        `    meta l4proto tcp meta skuid 0 ip6 daddr @${sets.ipv6} snat ip6 to ${this.#addresses.ipv6}\n`,
        '  }\n}\n',
      ].join(''),
    );
  }

  async add(uid: string, addresses: readonly string[]): Promise<void> {
    const lines = addresses.map((address) => `add element inet ${hostTable} ${setOf(address)} { ${element(address, uid)} }\n`);
    if (lines.length > 0) await this.#apply(lines.join(''));
    for (const address of addresses) this.#owners.set(address, uid);
  }

  /** Addresses that another pod has by now stay. */
  async delete(uid: string): Promise<void> {
    const owned = [...this.#owners].filter(([, owner]) => owner === uid).map(([address]) => address);
    // Adding first makes the deletion succeed if someone has flushed the set.
    const lines = owned.map((address) => {
      const target = `element inet ${hostTable} ${setOf(address)} { ${address} }`;
      return `add ${target}\ndelete ${target}\n`;
    });
    if (lines.length > 0) await this.#apply(lines.join(''));
    for (const address of owned) this.#owners.delete(address);
  }

  async uninstall(): Promise<void> {
    this.#owners.clear();
    await this.#apply(dropTable);
  }

  async #apply(ruleset: string): Promise<void> {
    await applyNftables(this.#namespace, ruleset);
  }
}

const hostTable = 'istio-ambient-probes';
/** Upstream's names of the sets. */
const sets = { ipv4: 'istio-inpod-probes-v4', ipv6: 'istio-inpod-probes-v6' } as const;
const dropTable = `add table inet ${hostTable}\ndelete table inet ${hostTable}\n`;

const setOf = (address: string): string => (isIPv6(address) ? sets.ipv6 : sets.ipv4);
const element = (address: string, uid: string): string => `${address} comment "${uid.replaceAll(/[^\w.-]/g, '')}"`;
