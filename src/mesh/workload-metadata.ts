import { create } from '@bufbuild/protobuf';

import { LocalitySchema, type Locality } from '../api/gen/istio/workload_pb.js';
import type { Node, ObjectMeta, Pod } from '../api/kubernetes.ts';
import { annotations, labels } from '../api/names.ts';

type Labels = Readonly<Record<string, string>>;

const workloadNameLabel = 'service.istio.io/workload-name';
const tunnelLabel = 'networking.istio.io/tunnel';

/** What a workload is called in telemetry: labels, else the name of what runs it. */
export function canonicalName(of: Labels, workloadName: string): string {
  return of[labels.canonicalName] ?? of['app.kubernetes.io/name'] ?? of['app'] ?? workloadName;
}

export function canonicalRevision(of: Labels): string {
  return of[labels.canonicalRevision] ?? of['app.kubernetes.io/version'] ?? of['version'] ?? 'latest';
}

/** Whether HBONE ends at a ztunnel in front of the workload (annotation), or at the workload itself (label). */
export function tunnelOf(metadata: Pick<ObjectMeta, 'annotations'>, of: Labels): { readonly hbone: boolean; readonly native: boolean } {
  const native = (of[tunnelLabel] ?? '').split(',').includes('http');
  return { native, hbone: native || metadata.annotations?.[annotations.redirection] === 'enabled' };
}

/** On the wire, no trust domain means cluster.local. */
export function wireTrustDomain(trustDomain: string): string {
  return trustDomain === 'cluster.local' ? '' : trustDomain;
}

/** The name of what runs a pod: its Deployment, CronJob, …; a pod that nothing runs is its own. */
export function podWorkloadName({ metadata }: Pod): string {
  const of = metadata.labels ?? {};
  const override = of[workloadNameLabel];
  if (override !== undefined) return override;
  const owner = metadata.ownerReferences?.find(({ controller }) => controller === true);
  if (owner === undefined || (metadata.generateName ?? '') === '') return metadata.name;
  if (owner.kind === 'ReplicaSet') {
    for (const label of ['pod-template-hash', 'rollouts-pod-template-hash']) {
      const hash = of[label];
      if (hash !== undefined && owner.name.endsWith(`-${hash}`)) return owner.name.slice(0, -hash.length - 1);
    }
  }
  if (owner.kind === 'ReplicationController') return of['deploymentconfig'] ?? owner.name;
  if (owner.kind === 'Job') return /^(.+)-\d{8,10}$/.exec(owner.name)?.[1] ?? owner.name;
  return owner.name;
}

/** The name that a WorkloadEntry goes by: its group's, its label's, its own. */
export function entryWorkloadName(metadata: ObjectMeta, of: Labels): string {
  return metadata.annotations?.['istio.io/autoRegistrationGroup'] ?? of[workloadNameLabel] ?? metadata.name;
}

/** Where a node is; undefined when its labels do not say. */
export function nodeLocality(node: Node | undefined): Locality | undefined {
  const of = node?.metadata.labels ?? {};
  return locality(of[labels.region] ?? '', of[labels.zone] ?? '', of[labels.subzone] ?? '');
}

/** `region/zone/subzone`, as entries write it. */
export function parseLocality(text: string | undefined): Locality | undefined {
  const [region = '', zone = '', subzone = ''] = (text ?? '').split('/');
  return locality(region, zone, subzone);
}

function locality(region: string, zone: string, subzone: string): Locality | undefined {
  return region === '' && zone === '' && subzone === '' ? undefined : create(LocalitySchema, { region, zone, subzone });
}
