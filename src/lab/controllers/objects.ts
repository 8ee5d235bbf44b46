import type * as k from '../../api/kubernetes.ts';

/** Names for the parts of API objects that controllers pass around. */
export type PodSpec = NonNullable<k.Pod['spec']>;
export type PodTemplate = NonNullable<k.Deployment['spec']>['template'];
export type DeploymentSpec = NonNullable<k.Deployment['spec']>;
export type DeploymentStatus = NonNullable<k.Deployment['status']>;
export type DeploymentCondition = NonNullable<DeploymentStatus['conditions']>[number];
export type ReplicaSetStatus = NonNullable<k.ReplicaSet['status']>;
export type DaemonSetStatus = NonNullable<k.DaemonSet['status']>;
export type StatefulSetStatus = NonNullable<k.StatefulSet['status']>;
export type ServiceSpec = NonNullable<k.Service['spec']>;
export type ServicePort = NonNullable<ServiceSpec['ports']>[number];
export type Endpoint = NonNullable<k.EndpointSlice['endpoints']>[number];
export type EndpointPort = NonNullable<k.EndpointSlice['ports']>[number];
export type Toleration = NonNullable<PodSpec['tolerations']>[number];
export type Taint = NonNullable<NonNullable<k.Node['spec']>['taints']>[number];
export type LabelSelector = DeploymentSpec['selector'];
export type IntOrString = number | string;

/** `namespace/name`, or `name` for an object without a namespace: the keys of the work queues. */
export function keyOf(object: k.KubeObject): string {
  const { namespace, name } = object.metadata;
  return namespace === undefined || namespace === '' ? name : `${namespace}/${name}`;
}

/** The parts of a {@link keyOf} key. */
export function splitKey(key: string): { readonly namespace: string; readonly name: string } {
  const slash = key.indexOf('/');
  return { namespace: slash < 0 ? '' : key.slice(0, slash), name: key.slice(slash + 1) };
}

/** A share of `total` (`25%`) or a plain number; the share is rounded as told. */
export function resolveIntOrString(value: IntOrString, total: number, round: 'up' | 'down'): number {
  if (typeof value === 'number') return value;
  if (!value.endsWith('%')) return Number.parseInt(value, 10) || 0;
  const exact = (Number.parseInt(value, 10) * total) / 100;
  return round === 'up' ? Math.ceil(exact) : Math.floor(exact);
}

/** Milliseconds since 1970 of an RFC 3339 time; 0 when there is none. */
export function timeOf(time: string | undefined): number {
  return time === undefined ? 0 : Date.parse(time);
}

/** An API server's time: RFC 3339 with whole seconds. */
export function formatTime(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
}

/** Older first; the name decides between objects of the same second. */
export function byAge(a: k.KubeObject, b: k.KubeObject): number {
  const difference = timeOf(a.metadata.creationTimestamp) - timeOf(b.metadata.creationTimestamp);
  return difference === 0 ? (a.metadata.name < b.metadata.name ? -1 : 1) : difference;
}
