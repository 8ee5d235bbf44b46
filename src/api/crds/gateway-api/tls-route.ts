import { every, int32, list, object, rule, string } from '../schema.ts';
import { dnsNamePattern } from './rules.ts';
import { age, define } from './define.ts';
import { coreGroup, hostname, parentRefs, routeStatus, sectionName, serviceKind } from './shared.ts';

export const tlsRoute = define({
  group: 'gateway.networking.k8s.io',
  plural: 'tlsroutes',
  kind: 'TLSRoute',
  versions: ['v1'],
  storage: 'v1',
  required: ['spec'],
  columns: [age],
  spec: object(
    {
      hostnames: list(hostname, {
        atomic: true,
        maxItems: 1024,
        minItems: 1,
        rules: [
          every('Hostnames cannot contain an IP', '!isIP(item)'),
          every('Hostnames must be valid based on RFC-1123', `item.contains('*') || item.matches(r'${dnsNamePattern}')`),
          every(
            'Wildcards on hostnames must be the first label, and the rest of hostname must be valid based on RFC-1123',
            `!item.contains('*') || (item.startsWith('*.') && item.substring(2).matches(r'${dnsNamePattern}'))`,
          ),
        ],
      }),
      parentRefs,
      rules: list(
        object(
          {
            backendRefs: list(
              object(
                {
                  group: coreGroup,
                  kind: serviceKind,
                  name: string({ maxLength: 253, minLength: 1 }),
                  namespace: string({ maxLength: 63, minLength: 1, pattern: '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$' }),
                  port: int32({ maximum: 65535, minimum: 1 }),
                  weight: int32({ default: 1, maximum: 1000000, minimum: 0 }),
                },
                {
                  required: ['name'],
                  rules: [rule('Must have port for Service reference', "self.group != '' || self.kind != 'Service' || has(self.port)")],
                },
              ),
              { atomic: true, maxItems: 16, minItems: 1 },
            ),
            name: sectionName,
          },
          { required: ['backendRefs'] },
        ),
        { atomic: true, maxItems: 1, minItems: 1 },
      ),
    },
    { required: ['hostnames', 'rules'] },
  ),
  status: routeStatus,
});
