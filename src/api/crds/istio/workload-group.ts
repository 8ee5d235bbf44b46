import { int32, integer, list, map, object, oneof, rule, string } from '../schema.ts';
import { age, define } from './define.ts';
import { endpointAddress, endpointPorts, portNumber, status } from './shared.ts';

export const workloadGroup = define({
  group: 'networking.istio.io',
  plural: 'workloadgroups',
  kind: 'WorkloadGroup',
  shortNames: ['wg'],
  versions: ['v1', 'v1alpha3', 'v1beta1'],
  storage: 'v1',
  required: ['spec'],
  columns: [age],
  spec: object(
    {
      metadata: object({ annotations: map(string(), { maxProperties: 256 }), labels: map(string(), { maxProperties: 256 }) }),
      probe: object(
        {
          exec: object({ command: list(string({ minLength: 1 })) }, { required: ['command'] }),
          failureThreshold: int32({ minimum: 0 }),
          grpc: object({ port: portNumber, service: string() }),
          httpGet: object(
            {
              host: string(),
              httpHeaders: list(object({ name: string({ pattern: '^[-_A-Za-z0-9]+$' }), value: string() })),
              path: string(),
              port: portNumber,
              scheme: string({ rules: [rule('scheme must be one of [HTTP, HTTPS]', "self in ['', 'HTTP', 'HTTPS']")] }),
            },
            { required: ['port'] },
          ),
          initialDelaySeconds: int32({ minimum: 0 }),
          periodSeconds: int32({ minimum: 0 }),
          successThreshold: int32({ minimum: 0 }),
          tcpSocket: object({ host: string(), port: portNumber }, { required: ['port'] }),
          timeoutSeconds: int32({ minimum: 0 }),
        },
        { ...oneof('httpGet', 'tcpSocket', 'exec', 'grpc') },
      ),
      template: object(
        {
          address: endpointAddress,
          labels: map(string(), { maxProperties: 256 }),
          locality: string({ maxLength: 2048 }),
          network: string({ maxLength: 2048 }),
          ports: endpointPorts,
          serviceAccount: string({ maxLength: 253 }),
          weight: integer({ maximum: 4294967295, minimum: 0 }),
        },
        { rules: [rule('UDS may not include ports', "!has(self.ports) || !has(self.address) || !self.address.startsWith('unix://')")] },
      ),
    },
    { required: ['template'] },
  ),
  status,
});
