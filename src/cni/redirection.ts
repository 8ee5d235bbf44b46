import { ports } from '../api/names.ts';
import { IsthmusError } from '../core/index.ts';
import { applyNftables, runCommand, type NetworkNamespace } from '../linux/index.ts';
import type { ProbeAddresses } from './config.ts';

/** What is redirected in a pod's network namespace. */
export interface RedirectionOptions {
  /** Also queries to port 53. */
  readonly dns: boolean;
  /** Also connections to the pod; false for an ingress that takes plaintext from outside itself. */
  readonly inbound: boolean;
  readonly ipv6: boolean;
  /** Connections from here are the node's probes and pass untouched. */
  readonly probeAddresses: ProbeAddresses;
  /** Interfaces of virtual machines in the pod, whose traffic leaves through ztunnel. */
  readonly virtualInterfaces: readonly string[];
}

/** Tables and marks are upstream's native nftables mode's: an agent of either kind replaces or removes the other's rules. */
export const tables = { nat: 'istio-ambient-nat', mangle: 'istio-ambient-mangle', raw: 'istio-ambient-raw' } as const;

/** SO_MARK of every socket of ztunnel's (1337). */
const proxyMark = '0x539';
/** Mark of connections that ztunnel opened to the application in the client's name. */
const inboundMark = '0x111';
const markMask = '0xfff';

const routeTable = '100';
const rulePriority = '32764';

/**
 * Installs the redirection in a pod's namespace, replacing what is there in one transaction: doing it twice, or over the
 * rules of an agent before us, is the same as once. CNI_REDIRECTION when it fails; then nothing is redirected.
 */
export async function installRedirection(namespace: NetworkNamespace, options: RedirectionOptions): Promise<void> {
  const ipv6 = options.ipv6 && namespace.hasIpv6();
  try {
    // The route first: rules without it would leave answers without a way.
    await routeMarked(namespace, '-4', '0.0.0.0/0');
    if (ipv6) await routeMarked(namespace, '-6', '::/0');
    await applyNftables(namespace, redirectionRuleset({ ...options, ipv6 }));
  } catch (cause) {
    throw new IsthmusError('CNI_REDIRECTION', `redirection in network namespace ${namespace.name} could not be installed`, { cause });
  }
}

/** Takes the redirection away; there may be none. CNI_REDIRECTION. */
export async function removeRedirection(namespace: NetworkNamespace): Promise<void> {
  try {
    await applyNftables(namespace, dropTables());
    for (const [family, present] of [
      ['-4', true],
      ['-6', namespace.hasIpv6()],
    ] as const) {
      if (!present) continue;
      // 2: there is no such rule or route.
      await runCommand('ip', [family, 'rule', 'del', 'pref', rulePriority], { namespace, accept: [0, 2] });
      await runCommand('ip', [family, 'route', 'flush', 'table', routeTable], { namespace, accept: [0, 2] });
    }
  } catch (cause) {
    throw new IsthmusError('CNI_REDIRECTION', `redirection in network namespace ${namespace.name} could not be removed`, { cause });
  }
}

/** Packets of marked connections go to the loopback interface, where ztunnel's transparent sockets take them. */
async function routeMarked(namespace: NetworkNamespace, family: '-4' | '-6', everything: string): Promise<void> {
  await runCommand('ip', [family, 'route', 'replace', 'local', everything, 'dev', 'lo', 'table', routeTable], { namespace });
  const mark = `${inboundMark}/${markMask}`;
  // 2: the rule exists.
  await runCommand('ip', [family, 'rule', 'add', 'fwmark', mark, 'pref', rulePriority, 'lookup', routeTable], {
    namespace,
    accept: [0, 2],
  });
}

/** Adding a table before deleting it makes the deletion succeed whether it was there or not. */
function dropTables(): string {
  return Object.values(tables)
    .map((table) => `add table inet ${table}\ndelete table inet ${table}\n`)
    .join('');
}

/**
 * The rules of a pod, equal in effect to upstream's iptables rules:
 *
 * - connections that are open when the rules come go on: the first packet that connection tracking sees of them is no SYN
 *   (with upstream's rules they are redirected in mid-stream, and break);
 * - what the pod sends goes to ztunnel's outbound port, unless ztunnel itself sends it or it stays on the loopback;
 * - what comes in goes to ztunnel's plaintext port, unless it is HBONE or a probe of the node;
 * - ztunnel connects to the application with the client's address as source. Its mark (proxyMark) marks the connection
 *   (inboundMark); the application's answers get the mark back and are routed to the loopback instead of out;
 * - ztunnel's own DNS queries are tracked in a zone of their own, because the pod's redirected query to the same server
 *   from the same port would otherwise be the same connection.
 */
export function redirectionRuleset(options: RedirectionOptions): string {
  const fromProxy = `meta mark & ${markMask} == ${proxyMark}`;
  const notFromProxy = `meta mark & ${markMask} != ${proxyMark}`;
  const families = [
    { header: 'ip', loopback: '127.0.0.1', probe: options.probeAddresses.ipv4 },
    ...(options.ipv6 ? [{ header: 'ip6', loopback: '::1', probe: options.probeAddresses.ipv6 }] : []),
  ];
  const perFamily = (rules: (family: (typeof families)[number]) => readonly string[]): readonly string[] => families.flatMap(rules);

  const openAlready = 'tcp flags & (syn | ack) != syn accept';
  const natIn = [
    openAlready,
    ...options.virtualInterfaces.map((name) => `iifname ${quoted(name)} meta l4proto tcp redirect to :${ports.ztunnelOutbound}`),
    ...(options.inbound
      ? perFamily(({ header, loopback, probe }) => [
          `${header} saddr ${probe} meta l4proto tcp accept`,
          `${header} daddr != ${loopback} tcp dport != ${ports.hbone} ${notFromProxy} redirect to :${ports.ztunnelInboundPlaintext}`,
        ])
      : []),
  ];
  const natOut = [
    openAlready,
    ...perFamily(({ header, probe }) => [`${header} daddr ${probe} meta l4proto tcp accept`]),
    ...(options.dns
      ? perFamily(({ header, loopback }) => [
          `meta nfproto ${header === 'ip' ? 'ipv4' : 'ipv6'} oifname != "lo" udp dport 53 ${notFromProxy} redirect to :${ports.ztunnelDns}`,
          `${header} daddr != ${loopback} tcp dport 53 ${notFromProxy} redirect to :${ports.ztunnelDns}`,
        ])
      : []),
    `meta l4proto tcp meta mark & ${markMask} == ${inboundMark} accept`,
    ...perFamily(({ header, loopback }) => [
      `${header} daddr != ${loopback} oifname "lo" accept`,
      `${header} daddr != ${loopback} meta l4proto tcp ${notFromProxy} redirect to :${ports.ztunnelOutbound}`,
    ]),
  ];
  const mangleIn = [`${fromProxy} ct mark set ct mark & 0xfffff000 | ${inboundMark}`];
  const mangleOut = [`ct mark & ${markMask} == ${inboundMark} meta mark set ct mark`];
  const rawIn = [`udp sport 53 ${notFromProxy} ct zone set 1`];
  const rawOut = [`udp dport 53 ${fromProxy} ct zone set 1`];

  return [
    dropTables(),
    table(tables.nat, { in: 'nat', out: 'nat', priority: -100 }, natIn, natOut),
    table(tables.mangle, { in: 'filter', out: 'route', priority: -150 }, mangleIn, mangleOut),
    ...(options.dns ? [table(tables.raw, { in: 'filter', out: 'filter', priority: -300 }, rawIn, rawOut)] : []),
  ].join('');
}

function table(
  name: string,
  hook: { in: string; out: string; priority: number },
  rulesIn: readonly string[],
  rulesOut: readonly string[],
): string {
  const chain = (chainName: string, rules: readonly string[]): string =>
    `  chain ${chainName} {\n${rules.map((rule) => `    ${rule}\n`).join('')}  }\n`;
  const base = (type: string, direction: string, target: string): string =>
    chain(direction, [`type ${type} hook ${direction} priority ${hook.priority}; policy accept;`, `jump ${target}`]);
  return [
    `table inet ${name} {\n`,
    chain('istio-prerouting', rulesIn),
    chain('istio-output', rulesOut),
    base(hook.in, 'prerouting', 'istio-prerouting'),
    base(hook.out, 'output', 'istio-output'),
    '}\n',
  ].join('');
}

/** An interface's name in the ruleset; the annotation it comes from is the user's. */
function quoted(name: string): string {
  if (!/^[\w.@-]{1,15}$/.test(name)) throw new IsthmusError('CNI_REDIRECTION', `"${name}" cannot be the name of an interface`);
  return `"${name}"`;
}
