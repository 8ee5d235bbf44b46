import type { Pod } from '../../api/kubernetes.ts';
import { clusterDomain, type ClusterPlan } from '../network/plan.ts';

/** The files of /etc that Kubernetes writes in a pod: hosts, hostname, resolv.conf. */
export function podEtcFiles(pod: Pod, plan: ClusterPlan, podIp: string): Readonly<Record<string, string>> {
  const hostname = podHostname(pod, plan);
  return {
    hostname: `${hostname}\n`,
    hosts: hostsFile(pod, hostname, podIp),
    'resolv.conf': resolvConf(pod, plan),
  };
}

export function podHostname(pod: Pod, plan: ClusterPlan): string {
  if (pod.spec?.hostNetwork === true) return plan.nodeName;
  return (pod.spec?.hostname ?? pod.metadata.name).slice(0, 63).replace(/[-.]+$/, '');
}

function hostsFile(pod: Pod, hostname: string, podIp: string): string {
  const { subdomain, hostAliases = [] } = pod.spec ?? {};
  const qualified = subdomain === undefined ? '' : `${hostname}.${subdomain}.${pod.metadata.namespace ?? 'default'}.svc.${clusterDomain}\t`;
  const lines = [
    '# Kubernetes-managed hosts file.',
    '127.0.0.1\tlocalhost',
    '::1\tlocalhost ip6-localhost ip6-loopback',
    `${podIp}\t${qualified}${hostname}`,
    ...hostAliases.map(({ ip, hostnames = [] }) => `${ip}\t${hostnames.join('\t')}`),
  ];
  return `${lines.join('\n')}\n`;
}

function resolvConf(pod: Pod, plan: ClusterPlan): string {
  const { dnsPolicy = 'ClusterFirst', dnsConfig, hostNetwork = false } = pod.spec ?? {};
  const usesCluster = dnsPolicy === 'ClusterFirstWithHostNet' || (dnsPolicy === 'ClusterFirst' && !hostNetwork);
  const namespace = pod.metadata.namespace ?? 'default';
  const nameservers = [...(usesCluster ? [plan.dnsAddress] : []), ...(dnsConfig?.nameservers ?? [])];
  const searches = [
    ...(usesCluster ? [`${namespace}.svc.${clusterDomain}`, `svc.${clusterDomain}`, clusterDomain] : []),
    ...(dnsConfig?.searches ?? []),
  ];
  const options = new Map<string, string | undefined>(usesCluster ? [['ndots', '5']] : []);
  for (const { name, value } of dnsConfig?.options ?? []) if (name !== undefined) options.set(name, value);
  return [
    ...(searches.length === 0 ? [] : [`search ${searches.join(' ')}`]),
    ...nameservers.map((address) => `nameserver ${address}`),
    ...(options.size === 0
      ? []
      : [`options ${[...options].map(([name, value]) => (value === undefined ? name : `${name}:${value}`)).join(' ')}`]),
    '',
  ].join('\n');
}
