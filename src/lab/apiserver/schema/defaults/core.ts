import { fill, fillObject, objectAt, objectsAt, stringAt, type Json } from '../json.ts';
import { defaultPod } from './pod.ts';

export const coreDefaults: Readonly<Record<string, (object: Json) => void>> = {
  Pod: defaultPod,
  Service: defaultService,
  Secret: defaultSecret,
  Namespace(namespace) {
    const metadata = fillObject(namespace, 'metadata');
    const name = stringAt(metadata, 'name');
    if (name !== undefined && name !== '') fillObject(metadata, 'labels')['kubernetes.io/metadata.name'] = name;
    fill(fillObject(namespace, 'status'), 'phase', 'Active');
  },
  Node(node) {
    const status = objectAt(node, 'status');
    const capacity = objectAt(status, 'capacity');
    if (status !== undefined && capacity !== undefined) fill(status, 'allocatable', { ...capacity });
  },
};

function defaultService(service: Json): void {
  const spec = fillObject(service, 'spec');
  fill(spec, 'sessionAffinity', 'None');
  if (spec['sessionAffinity'] === 'ClientIP')
    fill(fillObject(fillObject(spec, 'sessionAffinityConfig'), 'clientIP'), 'timeoutSeconds', 10_800);
  if (spec['sessionAffinity'] === 'None') delete spec['sessionAffinityConfig'];
  const type = fill(spec, 'type', 'ClusterIP');
  for (const port of objectsAt(spec, 'ports')) {
    fill(port, 'protocol', 'TCP');
    if (port['targetPort'] === undefined || port['targetPort'] === 0 || port['targetPort'] === '') port['targetPort'] = port['port'];
  }
  const external = type === 'NodePort' || type === 'LoadBalancer';
  if (external) fill(spec, 'externalTrafficPolicy', 'Cluster');
  if (external || type === 'ClusterIP') fill(spec, 'internalTrafficPolicy', 'Cluster');
  if (type === 'LoadBalancer') fill(spec, 'allocateLoadBalancerNodePorts', true);
  for (const ingress of objectsAt(objectAt(objectAt(service, 'status'), 'loadBalancer'), 'ingress')) {
    if (ingress['ip'] !== undefined) fill(ingress, 'ipMode', 'VIP');
  }
}

function defaultSecret(secret: Json): void {
  fill(secret, 'type', 'Opaque');
  const plain = objectAt(secret, 'stringData');
  if (plain === undefined) return;
  // Write-only: what is stored is data.
  const data = fillObject(secret, 'data');
  for (const [key, value] of Object.entries(plain)) data[key] = Buffer.from(String(value)).toString('base64');
  delete secret['stringData'];
}
