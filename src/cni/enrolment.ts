import type { Namespace, Pod } from '../api/kubernetes.ts';
import { annotations, labels } from '../api/names.ts';
import type { CniConfig } from './config.ts';
import type { RedirectionOptions } from './redirection.ts';

/** Why a pod is in the mesh or is not; the text is for logs. */
export type Enrolment = { readonly enrolled: true } | { readonly enrolled: false; readonly reason: string };

const sidecarStatus = 'sidecar.istio.io/status';
const dnsCapture = 'ambient.istio.io/dns-capture';
const bypassInboundCapture = 'ambient.istio.io/bypass-inbound-capture';
const rerouteVirtualInterfaces = 'istio.io/reroute-virtual-interfaces';

const no = (reason: string): Enrolment => ({ enrolled: false, reason });

/**
 * Whether a pod belongs to the mesh, by Istio's rules: the label istio.io/dataplane-mode of the pod wins over that of its
 * namespace; host network, a sidecar, an excluded namespace and being a ztunnel or finished rule it out.
 */
export function enrolmentOf(pod: Pod, namespace: Namespace | undefined, excludeNamespaces: CniConfig['excludeNamespaces']): Enrolment {
  const { metadata, spec, status } = pod;
  if (excludeNamespaces.has(metadata.namespace ?? '')) return no('excluded namespace');
  if (spec?.hostNetwork === true) return no('host network');
  if (metadata.annotations?.[sidecarStatus] !== undefined) return no('has a sidecar');
  if (metadata.labels?.['app'] === 'ztunnel') return no('is a ztunnel');
  if (isFinished(status?.phase)) return no(`phase ${status?.phase ?? ''}`);
  const own = metadata.labels?.[labels.dataplaneMode];
  if (own === 'ambient') return { enrolled: true };
  if (own === 'none') return no(`label ${labels.dataplaneMode}=none`);
  return namespace?.metadata.labels?.[labels.dataplaneMode] === 'ambient' ? { enrolled: true } : no('not labelled');
}

function isFinished(phase: string | undefined): boolean {
  return phase === 'Succeeded' || phase === 'Failed';
}

/** Whether the pod says that it was enrolled, by us or by an agent before us. */
export function isMarkedEnrolled(pod: Pod): boolean {
  const mark = pod.metadata.annotations?.[annotations.redirection];
  return mark === 'enabled' || mark === 'pending';
}

/** Addresses of a running pod; empty as long as it has none. */
export function podAddresses(pod: Pod): readonly string[] {
  const addresses = (pod.status?.podIPs ?? []).flatMap(({ ip }) => (ip === '' ? [] : [ip]));
  const { podIP } = pod.status ?? {};
  return addresses.length > 0 || podIP === undefined || podIP === '' ? addresses : [podIP];
}

/** What the pod's annotations ask for, over the agent's configuration. */
export function redirectionOptions(pod: Pod, config: Pick<CniConfig, 'dnsCapture' | 'ipv6' | 'probeAddresses'>): RedirectionOptions {
  const given = pod.metadata.annotations ?? {};
  const ingress = given[bypassInboundCapture] === 'true';
  return {
    // In ingress mode a pod gets its DNS answers from outside the mesh too.
    dns: !ingress && (given[dnsCapture] === undefined ? config.dnsCapture : given[dnsCapture] === 'true'),
    inbound: !ingress,
    ipv6: config.ipv6,
    probeAddresses: config.probeAddresses,
    virtualInterfaces: (given[rerouteVirtualInterfaces] ?? '')
      .split(',')
      .map((name) => name.trim())
      .filter((name) => name !== ''),
  };
}
