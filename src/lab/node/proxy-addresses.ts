import { runCommand } from '../../linux/index.ts';

/** Marks the addresses of lo that are this proxy's to remove. */
const label = 'lo:lb';

interface ShownInterface {
  readonly addr_info?: readonly { readonly local?: string; readonly label?: string; readonly prefixlen?: number }[];
}

/**
 * Makes this network namespace answer for exactly these load balancer addresses: they are added to lo, from where the kernel
 * answers ARP on every interface, and taken away again when they are not wanted any more.
 */
export async function setLoadBalancerAddresses(wanted: ReadonlySet<string>, signal: AbortSignal): Promise<void> {
  const shown = JSON.parse(await runCommand('ip', ['-j', '-4', 'address', 'show', 'dev', 'lo'], { signal })) as readonly ShownInterface[];
  const present = new Set(
    shown
      .flatMap(({ addr_info }) => addr_info ?? [])
      .filter((address) => address.label === label)
      .flatMap(({ local }) => local ?? []),
  );
  const lines = [
    ...[...present].filter((address) => !wanted.has(address)).map((address) => `address del ${address}/32 dev lo`),
    ...[...wanted].filter((address) => !present.has(address)).map((address) => `address replace ${address}/32 dev lo label ${label}`),
  ];
  if (lines.length > 0) await runCommand('ip', ['-batch', '-'], { input: `${lines.join('\n')}\n`, signal });
}

/**
 * Lets the node itself call ClusterIPs: a local connection needs a route before its first packet meets the proxy's rules. The
 * uplink's address becomes its source.
 */
export async function routeServices(serviceCidr: string, uplink: string, signal: AbortSignal): Promise<void> {
  await runCommand('ip', ['route', 'replace', serviceCidr, 'dev', uplink, 'scope', 'link'], { signal });
}
