import type { Backend, ServicePortRules } from './proxy-model.ts';

/** The nftables table of the proxy; nothing else writes to it. */
export const proxyTable = 'isthmus-lab-proxy';

export interface RulesetOptions {
  /** The pods of this node: their traffic comes back through it. */
  readonly podCidr: string;
  readonly serviceCidr: string;
}

/**
 * The whole table as one transaction for `nft -f`. Connections that exist keep their backend: the kernel's connection
 * tracking knows them, and only the first packet of a connection meets these rules.
 */
export function renderRuleset(rules: readonly ServicePortRules[], { podCidr, serviceCidr }: RulesetOptions): string {
  const chains: string[] = [];
  const services: string[] = [];
  const nodePorts: string[] = [];
  const refused: string[] = [];
  const refusedNodePorts: string[] = [];

  for (const rule of rules) {
    const sameBackends = JSON.stringify(rule.internalBackends) === JSON.stringify(rule.externalBackends);
    const internal = `service/${rule.name}`;
    const external = sameBackends ? internal : `external/${rule.name}`;
    if (rule.internalBackends.length > 0) chains.push(serviceChain(internal, rule, rule.internalBackends));
    if (!sameBackends && rule.externalBackends.length > 0) chains.push(serviceChain(external, rule, rule.externalBackends));
    const entry = (address: string): string => `${address} . ${rule.protocol} . ${String(rule.port)}`;
    for (const address of rule.clusterAddresses) {
      if (rule.internalBackends.length > 0) services.push(`${entry(address)} : goto ${internal}`);
      else refused.push(`${entry(address)} : goto refuse`);
    }
    for (const address of rule.externalAddresses) {
      if (rule.externalBackends.length > 0) services.push(`${entry(address)} : goto ${external}`);
      else refused.push(`${entry(address)} : goto refuse`);
    }
    if (rule.nodePort !== undefined) {
      const port = `${rule.protocol} . ${String(rule.nodePort)}`;
      if (rule.externalBackends.length > 0) nodePorts.push(`${port} : goto ${external}`);
      else refusedNodePorts.push(`${port} : goto refuse`);
    }
  }
  const all = rules.flatMap(({ internalBackends, externalBackends }) => [...internalBackends, ...externalBackends]);
  const hairpins = new Set(all.map(({ address }) => `${address} . ${address}`));

  return `table ip ${proxyTable}
delete table ip ${proxyTable}
table ip ${proxyTable} {
${collection('map', 'services', 'ipv4_addr . inet_proto . inet_service : verdict', services)}
${collection('map', 'node-ports', 'inet_proto . inet_service : verdict', nodePorts)}
${collection('map', 'refused', 'ipv4_addr . inet_proto . inet_service : verdict', refused)}
${collection('map', 'refused-node-ports', 'inet_proto . inet_service : verdict', refusedNodePorts)}
${collection('set', 'hairpins', 'ipv4_addr . ipv4_addr', [...hairpins])}

  chain refuse {
    meta l4proto tcp reject with tcp reset
    reject with icmp type port-unreachable
  }
${chains.join('\n')}

  chain dispatch {
    ip daddr . meta l4proto . th dport vmap @services
    fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @node-ports
  }
  chain prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    jump dispatch
  }
  chain output {
    type nat hook output priority -100; policy accept;
    jump dispatch
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    ct status dnat ip saddr . ip daddr @hairpins masquerade
    ct status dnat ip saddr != ${podCidr} ip daddr != ${podCidr} fib saddr type != local masquerade
  }

  chain check-endpoints {
    ip daddr ${serviceCidr} fib daddr type local return
    ip daddr . meta l4proto . th dport vmap @refused
    fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @refused-node-ports
  }
  chain check-unknown {
    ip daddr ${serviceCidr} fib daddr type != local goto refuse
  }
  chain filter-input {
    type filter hook input priority -110; policy accept;
    ct state new jump check-endpoints
  }
  chain filter-forward {
    type filter hook forward priority -110; policy accept;
    ct state new jump check-endpoints
    ct state new jump check-unknown
  }
  chain filter-output {
    type filter hook output priority -110; policy accept;
    ct state new jump check-endpoints
  }
  chain filter-output-after-nat {
    type filter hook output priority -90; policy accept;
    ct state new jump check-unknown
  }
}
`;
}

/** A named set or map. nft 1.0.6 reads nested closing braces only on lines of their own. */
function collection(keyword: 'map' | 'set', name: string, type: string, elements: readonly string[]): string {
  const content = elements.length === 0 ? '' : `\n    elements = {\n${elements.map((element) => `      ${element},`).join('\n')}\n    }`;
  return `  ${keyword} ${name} {\n    type ${type}${content}\n  }`;
}

/** Sends a new connection to one of the backends: at random, or always the same for one client address. */
function serviceChain(name: string, rule: ServicePortRules, backends: readonly Backend[]): string {
  const choice = rule.clientAffinity ? 'jhash ip saddr' : 'numgen random';
  const entries = backends.map(({ address, port }, i) => `${String(i)} : ${address} . ${String(port)}`);
  return `
  chain ${name} {
    meta l4proto ${rule.protocol} dnat ip to ${choice} mod ${String(backends.length)} map {
      ${entries.join(',\n      ')}
    }
  }`;
}
