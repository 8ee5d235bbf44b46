import { integer, list, object, oneOfStrings, string } from '../schema.ts';
import { define } from './define.ts';
import { connectionPool, egressDestination, status, tls, workloadSelector } from './shared.ts';

const port = object({
  name: string(),
  number: integer({ maximum: 4294967295, minimum: 0 }),
  protocol: string(),
  targetPort: integer({ maximum: 4294967295, minimum: 0 }),
});

export const sidecar = define({
  group: 'networking.istio.io',
  plural: 'sidecars',
  kind: 'Sidecar',
  versions: ['v1', 'v1alpha3', 'v1beta1'],
  storage: 'v1',
  columns: [],
  spec: object({
    egress: list(
      object(
        { bind: string(), captureMode: oneOfStrings('DEFAULT', 'IPTABLES', 'NONE'), hosts: list(string()), port },
        { required: ['hosts'] },
      ),
    ),
    inboundConnectionPool: connectionPool,
    ingress: list(
      object(
        { bind: string(), captureMode: oneOfStrings('DEFAULT', 'IPTABLES', 'NONE'), connectionPool, defaultEndpoint: string(), port, tls },
        { required: ['port'] },
      ),
    ),
    outboundTrafficPolicy: object({ egressProxy: egressDestination, mode: oneOfStrings('REGISTRY_ONLY', 'ALLOW_ANY') }),
    workloadSelector,
  }),
  status,
});
