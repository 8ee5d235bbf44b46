import type { KubeObject } from '../../api/kubernetes.ts';
import { annotations, gatewayClasses, labels } from '../../api/names.ts';
import { isInMesh, type ClusterFacts, type GlobalServiceFacts } from './cluster-facts.ts';
import { finding, type CheckLine, type Finding } from './findings.ts';
import { readPeerState } from './peer-state.ts';

/** The Services that this cluster exports: their pods ought to be in the mesh. */
export function checkServices({ context, globalServices }: ClusterFacts): CheckLine {
  const byNamespace = Map.groupBy(
    globalServices.filter((one) => !isServiceInMesh(one)),
    ({ service }) => service.metadata.namespace ?? '',
  );
  const findings = [...byNamespace].map(([namespace, services]) => {
    const names = services.map(({ service }) => service.metadata.name).join(', ');
    const cause = `namespace ${namespace} has global Services (${names}) but is not in the mesh: their pods are reached without mutual TLS, and resolve no global name`;
    const command = `kubectl --context ${context} label namespace ${namespace} ${labels.dataplaneMode}=ambient --overwrite`;
    return finding('CHECK_NAMESPACE_NOT_IN_MESH', cause, command);
  });
  const details = globalServices.map(({ service }) => `${service.metadata.namespace ?? ''}/${service.metadata.name}`);
  const message = findings.length === 0 ? `global Services: ${String(details.length)}` : 'found global Services outside the mesh';
  return { check: 'Shared Services Check', message, details, findings, isExtra: true };
}

function isServiceInMesh({ namespace, pods }: GlobalServiceFacts): boolean {
  if (isInMesh(namespace)) return true;
  return (
    pods.length > 0 &&
    pods.every(
      ({ metadata, spec }) =>
        metadata.annotations?.[annotations.redirection] === 'enabled' ||
        [...(spec?.containers ?? []), ...(spec?.initContainers ?? [])].some(({ name }) => name === 'istio-proxy'),
    )
  );
}

/** The entries that peering has written, or somebody else under their names. */
export function checkEntries(facts: ClusterFacts): CheckLine {
  const { context, mesh, remote, serviceEntries, workloadEntries } = facts;
  const findings: Finding[] = [];
  const linked = new Set(remote.flatMap((gateway) => readPeerState(gateway)?.cluster ?? []));
  const stale = Map.groupBy(
    workloadEntries.filter((entry) => isPeerings(entry) && !linked.has(peerOf(entry))),
    peerOf,
  );
  for (const [peer, entries] of stale) {
    const cause = `${String(entries.length)} WorkloadEntries are of ${peer}, to which no Gateway of class ${gatewayClasses.remote} links`;
    const command = `kubectl --context ${context} delete workloadentries --all-namespaces -l ${labels.peer}=${peer}`;
    findings.push(finding('CHECK_ENTRIES_STALE', cause, command.replace('--all-namespaces', inNamespaces(entries))));
  }
  for (const [kind, entries] of [
    ['serviceentry', serviceEntries],
    ['workloadentry', workloadEntries],
  ] as const) {
    for (const entry of entries) {
      const { name, namespace = '' } = entry.metadata;
      const why = foreignness(entry, mesh.istiod);
      if (why === undefined) continue;
      const command = `kubectl --context ${context} -n ${namespace} delete ${kind} ${name}`;
      findings.push(finding('CHECK_ENTRIES_FOREIGN', `${entry.kind} ${namespace}/${name} ${why}`, command));
    }
  }
  const details = [`${String(serviceEntries.length)} ServiceEntries, ${String(workloadEntries.length)} WorkloadEntries`];
  const message = findings.length === 0 ? 'no left-over entries found' : 'found left-over or foreign entries';
  return { check: 'Stale Workloads Check', message, details, findings, isExtra: true };
}

/** Why an entry is not one of this cluster's peering; undefined: it is. */
function foreignness(entry: KubeObject, istiod: { readonly isIsthmus: boolean; readonly namespace: string }): string | undefined {
  if (!isPeerings(entry)) return 'has a name of peering, but was made by another control plane or by hand';
  const { namespace, labels: of = {} } = entry.metadata;
  const parent = of[labels.parentServiceNamespace];
  // Our istiod keeps entries in its own namespace, peering beside another Istio in that of the Service.
  const place = istiod.isIsthmus ? istiod.namespace : parent;
  if (place === undefined || place === namespace) return undefined;
  return `was made for ${istiod.isIsthmus ? 'another Istio' : 'our istiod'}: here entries belong into namespace ${place}`;
}

function isPeerings({ metadata }: KubeObject): boolean {
  return (
    metadata.labels?.[labels.parentService] !== undefined &&
    // Without managedFields (some tools drop them) the label counts.
    (metadata.managedFields?.some(({ manager }) => manager === 'isthmus-peering') ?? true)
  );
}

function peerOf({ metadata }: KubeObject): string {
  return metadata.labels?.[labels.peer] ?? metadata.labels?.[labels.cluster] ?? '';
}

function inNamespaces(entries: readonly KubeObject[]): string {
  const namespaces = new Set(entries.map(({ metadata }) => metadata.namespace ?? ''));
  return namespaces.size === 1 ? `-n ${[...namespaces].join('')}` : '--all-namespaces';
}
