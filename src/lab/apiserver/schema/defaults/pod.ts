import { fill, fillObject, objectAt, objectsAt, stringAt, type Json } from '../json.ts';

/** What a server fills into a pod's spec, wherever it stands (k8s.io/kubernetes pkg/apis/core/v1/defaults.go). */
export function defaultPodSpec(spec: Json): void {
  fill(spec, 'restartPolicy', 'Always');
  fill(spec, 'terminationGracePeriodSeconds', 30);
  fill(spec, 'dnsPolicy', 'ClusterFirst');
  fill(spec, 'securityContext', {});
  fill(spec, 'schedulerName', 'default-scheduler');
  // One name, two fields: the older is kept for old clients.
  const account = spec['serviceAccountName'] ?? spec['serviceAccount'];
  if (account !== undefined) spec['serviceAccountName'] = spec['serviceAccount'] = account;
  for (const volume of objectsAt(spec, 'volumes')) defaultVolume(volume);
  for (const list of ['initContainers', 'containers', 'ephemeralContainers']) {
    for (const container of objectsAt(spec, list)) defaultContainer(container);
  }
}

/** The defaults of a pod itself, beyond those that a template has. */
export function defaultPod(pod: Json): void {
  const spec = fillObject(pod, 'spec');
  defaultPodSpec(spec);
  fill(spec, 'enableServiceLinks', true);
  for (const list of ['initContainers', 'containers']) {
    for (const container of objectsAt(spec, list)) {
      const limits = objectAt(objectAt(container, 'resources'), 'limits');
      if (limits !== undefined) {
        const requests = fillObject(fillObject(container, 'resources'), 'requests');
        for (const [resource, amount] of Object.entries(limits)) fill(requests, resource, amount);
      }
      if (spec['hostNetwork'] !== true) continue;
      for (const port of objectsAt(container, 'ports')) fill(port, 'hostPort', port['containerPort']);
    }
  }
}

function defaultContainer(container: Json): void {
  fill(container, 'terminationMessagePath', '/dev/termination-log');
  fill(container, 'terminationMessagePolicy', 'File');
  fill(container, 'imagePullPolicy', isLatest(stringAt(container, 'image') ?? '') ? 'Always' : 'IfNotPresent');
  for (const variable of objectsAt(container, 'env')) {
    const fieldRef = objectAt(objectAt(variable, 'valueFrom'), 'fieldRef');
    if (fieldRef !== undefined) fill(fieldRef, 'apiVersion', 'v1');
  }
  for (const name of ['livenessProbe', 'readinessProbe', 'startupProbe']) {
    const probe = objectAt(container, name);
    if (probe === undefined) continue;
    fill(probe, 'timeoutSeconds', 1);
    fill(probe, 'periodSeconds', 10);
    fill(probe, 'successThreshold', 1);
    fill(probe, 'failureThreshold', 3);
    defaultHandler(probe);
  }
  const lifecycle = objectAt(container, 'lifecycle');
  for (const hook of ['postStart', 'preStop']) {
    const handler = objectAt(lifecycle, hook);
    if (handler !== undefined) defaultHandler(handler);
  }
}

function defaultHandler(handler: Json): void {
  const http = objectAt(handler, 'httpGet');
  if (http === undefined) return;
  fill(http, 'path', '/');
  fill(http, 'scheme', 'HTTP');
}

/** No tag and no digest mean the tag `latest`. */
function isLatest(image: string): boolean {
  const [name = '', digest] = image.split('@');
  if (digest !== undefined) return false;
  const tag = /:([^/:]+)$/.exec(name)?.[1];
  return image !== '' && (tag === undefined || tag === 'latest');
}

/** Mode 0644 of the files of a volume. */
const fileMode = 0o644;

function defaultVolume(volume: Json): void {
  if (Object.keys(volume).every((key) => key === 'name')) volume['emptyDir'] = {};
  for (const kind of ['secret', 'configMap', 'downwardAPI', 'projected']) {
    const source = objectAt(volume, kind);
    if (source !== undefined) fill(source, 'defaultMode', fileMode);
  }
  const hostPath = objectAt(volume, 'hostPath');
  if (hostPath !== undefined) fill(hostPath, 'type', '');
  const projected = objectsAt(objectAt(volume, 'projected'), 'sources');
  for (const source of projected) {
    const token = objectAt(source, 'serviceAccountToken');
    if (token !== undefined) fill(token, 'expirationSeconds', 3600);
  }
  for (const holder of [volume, ...projected]) {
    for (const item of objectsAt(objectAt(holder, 'downwardAPI'), 'items')) {
      const fieldRef = objectAt(item, 'fieldRef');
      if (fieldRef !== undefined) fill(fieldRef, 'apiVersion', 'v1');
    }
  }
}
