import { every, list, object, string } from '../schema.ts';
import { age, column, define } from './define.ts';
import { gatewayConditions, gatewayGroup, gatewayKind, listener, listenerStatuses } from './shared.ts';

export const listenerSet = define({
  group: 'gateway.networking.k8s.io',
  plural: 'listenersets',
  kind: 'ListenerSet',
  shortNames: ['lset'],
  versions: ['v1'],
  storage: 'v1',
  required: ['spec'],
  columns: [
    column('Accepted', '.status.conditions[?(@.type=="Accepted")].status'),
    column('Programmed', '.status.conditions[?(@.type=="Programmed")].status'),
    age,
  ],
  spec: object(
    {
      listeners: list(listener, {
        keys: ['name'],
        maxItems: 64,
        minItems: 1,
        rules: [
          every(
            "tls must not be specified for protocols ['HTTP', 'TCP', 'UDP']",
            "!(item.protocol in ['HTTP', 'TCP', 'UDP']) || !has(item.tls)",
          ),
          every(
            'tls mode must be Terminate for protocol HTTPS',
            "item.protocol != 'HTTPS' || !has(item.tls) || item.tls.mode in ['', 'Terminate']",
          ),
          every(
            'tls mode must be set for protocol TLS',
            "item.protocol != 'TLS' || (has(item.tls) && has(item.tls.mode) && item.tls.mode != '')",
          ),
          every(
            "hostname must not be specified for protocols ['TCP', 'UDP']",
            "!(item.protocol in ['TCP', 'UDP']) || !has(item.hostname) || item.hostname == ''",
          ),
          every('Listener name must be unique within the Gateway', 'self.exists_one(other, other.name == item.name)'),
          every(
            'Combination of port, protocol and hostname must be unique for each listener',
            '!has(item.port) || self.exists_one(other, has(other.port) && other.port == item.port && other.protocol == item.protocol && has(other.hostname) == has(item.hostname) && (!has(item.hostname) || other.hostname == item.hostname))',
          ),
        ],
      }),
      parentRef: object(
        {
          group: gatewayGroup,
          kind: gatewayKind,
          name: string({ maxLength: 253, minLength: 1 }),
          namespace: string({ maxLength: 63, minLength: 1, pattern: '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$' }),
        },
        { required: ['name'] },
      ),
    },
    { required: ['listeners', 'parentRef'] },
  ),
  status: object(
    { conditions: gatewayConditions, listeners: listenerStatuses },
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
          {
            lastTransitionTime: '1970-01-01T00:00:00Z',
            message: 'Waiting for controller',
            reason: 'Pending',
            status: 'Unknown',
            type: 'Programmed',
          },
        ],
      },
    },
  ),
});
