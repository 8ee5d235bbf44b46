import { list, object, rule, string } from '../schema.ts';
import { age, column, define } from './define.ts';
import { condition, objectRef } from './shared.ts';

export const gatewayClass = define({
  group: 'gateway.networking.k8s.io',
  plural: 'gatewayclasses',
  kind: 'GatewayClass',
  shortNames: ['gc'],
  scope: 'Cluster',
  versions: ['v1', 'v1beta1'],
  storage: 'v1',
  required: ['spec'],
  columns: [
    column('Controller', '.spec.controllerName'),
    column('Accepted', '.status.conditions[?(@.type=="Accepted")].status'),
    age,
    column('Description', '.spec.description', 'string', 1),
  ],
  spec: object(
    {
      controllerName: string({
        maxLength: 253,
        minLength: 1,
        pattern: "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\\/[A-Za-z0-9\\/\\-._~%!$&'()*+,;=:]+$",
        rules: [rule('field is immutable', 'self == oldSelf')],
      }),
      description: string({ maxLength: 64 }),
      parametersRef: objectRef,
    },
    { required: ['controllerName'] },
  ),
  status: object(
    {
      conditions: list(condition, {
        keys: ['type'],
        default: [
          {
            lastTransitionTime: '1970-01-01T00:00:00Z',
            message: 'Waiting for controller',
            reason: 'Pending',
            status: 'Unknown',
            type: 'Accepted',
          },
        ],
        maxItems: 8,
      }),
      supportedFeatures: list(object({ name: string() }, { required: ['name'] }), { keys: ['name'], maxItems: 64 }),
    },
    {
      default: {
        conditions: [
          {
            lastTransitionTime: '1970-01-01T00:00:00Z',
            message: 'Waiting for controller',
            reason: 'Pending',
            status: 'Unknown',
            type: 'Accepted',
          },
        ],
      },
    },
  ),
});
