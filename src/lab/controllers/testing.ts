import type * as k from '../../api/kubernetes.ts';
import { formatTime, type PodSpec, type PodTemplate } from './objects.ts';

/** For tests: objects as an API server would return them, with only what the test is about spelled out. */

let serial = 0;

/** metadata with a uid and an age: each object is made one second after the one before. */
export function meta(name: string, more: Partial<k.ObjectMeta> = {}): k.ObjectMeta {
  serial++;
  return {
    name,
    namespace: 'demo',
    uid: `uid-${String(serial)}`,
    resourceVersion: String(serial),
    generation: 1,
    creationTimestamp: formatTime(1_700_000_000_000 + serial * 1000),
    ...more,
  };
}

export function template(image: string, labels: Record<string, string> = { app: 'web' }): PodTemplate {
  return { metadata: { labels }, spec: { containers: [{ name: 'main', image }] } };
}

export function deployment(spec: Partial<NonNullable<k.Deployment['spec']>> = {}, more: Partial<k.Deployment> = {}): k.Deployment {
  const whole = { selector: { matchLabels: { app: 'web' } }, template: template('web:1'), replicas: 1, ...spec };
  return { apiVersion: 'apps/v1', kind: 'Deployment', metadata: meta('web'), spec: whole, ...more };
}

export function replicaSet(
  name: string,
  image: string,
  replicas: number,
  available = replicas,
  more: Partial<k.ObjectMeta> = {},
): k.ReplicaSet {
  return {
    apiVersion: 'apps/v1',
    kind: 'ReplicaSet',
    metadata: meta(name, more),
    spec: { replicas, selector: { matchLabels: { app: 'web' } }, template: template(image) },
    status: { replicas, readyReplicas: available, availableReplicas: available, observedGeneration: 1 },
  };
}

export interface PodSketch {
  readonly node?: string;
  readonly ready?: boolean;
  /** Milliseconds since 1970 of the Ready condition's last change. */
  readonly since?: number;
  readonly ip?: string;
  readonly labels?: Record<string, string>;
  readonly phase?: NonNullable<k.Pod['status']>['phase'];
  readonly terminating?: boolean;
  readonly spec?: Partial<PodSpec>;
  readonly meta?: Partial<k.ObjectMeta>;
}

export function pod(name: string, sketch: PodSketch = {}): k.Pod {
  const { node, ready = true, since = 0, ip, labels = { app: 'web' }, phase = 'Running', terminating, spec } = sketch;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: meta(name, { labels, ...(terminating && { deletionTimestamp: formatTime(since) }), ...sketch.meta }),
    spec: {
      containers: [{ name: 'main', image: 'web:1', ports: [{ name: 'http', containerPort: 8080 }] }],
      ...(node && { nodeName: node }),
      ...spec,
    },
    status: {
      phase,
      ...(ip && { podIP: ip }),
      conditions: [{ type: 'Ready', status: ready ? 'True' : 'False', lastTransitionTime: formatTime(since) }],
    },
  };
}

export function node(
  name: string,
  more: { labels?: Record<string, string>; taints?: NonNullable<NonNullable<k.Node['spec']>['taints']>; ready?: string } = {},
): k.Node {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { ...meta(name, { labels: { 'kubernetes.io/os': 'linux', ...more.labels } }) },
    spec: { ...(more.taints && { taints: more.taints }) },
    status: { conditions: [{ type: 'Ready', status: more.ready ?? 'True' }] },
  };
}

export function service(name: string, spec: Partial<NonNullable<k.Service['spec']>> = {}, more: Partial<k.ObjectMeta> = {}): k.Service {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: meta(name, more),
    spec: {
      type: 'ClusterIP',
      clusterIP: '10.255.10.24',
      selector: { app: 'web' },
      ports: [{ name: 'http', port: 80, targetPort: 8080 }],
      ...spec,
    },
  };
}
