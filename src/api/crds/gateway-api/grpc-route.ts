import { int32, list, object, oneOfStrings, rule, string } from '../schema.ts';
import { filterUnion, grpcMethodPattern, grpcServicePattern, notRepeated } from './rules.ts';
import { age, column, define } from './define.ts';
import {
  coreGroup,
  headerMatches,
  headerModifier,
  hostnames,
  localObjectRef,
  parentRefs,
  requestMirror,
  routeStatus,
  sectionName,
  serviceKind,
} from './shared.ts';

const filters = list(
  object(
    {
      extensionRef: localObjectRef,
      requestHeaderModifier: headerModifier,
      requestMirror,
      responseHeaderModifier: headerModifier,
      type: oneOfStrings('ResponseHeaderModifier', 'RequestHeaderModifier', 'RequestMirror', 'ExtensionRef'),
    },
    {
      required: ['type'],
      rules: [
        ...filterUnion({
          requestHeaderModifier: 'RequestHeaderModifier',
          responseHeaderModifier: 'ResponseHeaderModifier',
          requestMirror: 'RequestMirror',
          extensionRef: 'ExtensionRef',
        }),
      ],
    },
  ),
  { atomic: true, maxItems: 16, rules: [...notRepeated('RequestHeaderModifier', 'ResponseHeaderModifier')] },
);

export const grpcRoute = define({
  group: 'gateway.networking.k8s.io',
  plural: 'grpcroutes',
  kind: 'GRPCRoute',
  versions: ['v1'],
  storage: 'v1',
  required: ['spec'],
  columns: [column('Hostnames', '.spec.hostnames'), age],
  spec: object({
    hostnames,
    parentRefs,
    rules: list(
      object({
        backendRefs: list(
          object(
            {
              filters,
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
          { atomic: true, maxItems: 16 },
        ),
        filters,
        matches: list(
          object({
            headers: headerMatches,
            method: object(
              {
                method: string({ maxLength: 1024 }),
                service: string({ maxLength: 1024 }),
                type: string({ default: 'Exact', enum: ['Exact', 'RegularExpression'] }),
              },
              {
                rules: [
                  rule(
                    "One or both of 'service' or 'method' must be specified",
                    '!has(self.type) || has(self.service) || has(self.method)',
                  ),
                  rule(
                    `service must only contain valid characters (matching ${grpcServicePattern})`,
                    `(has(self.type) && self.type != 'Exact') || !has(self.service) || self.service.matches(r'${grpcServicePattern}')`,
                  ),
                  rule(
                    `method must only contain valid characters (matching ${grpcMethodPattern})`,
                    `(has(self.type) && self.type != 'Exact') || !has(self.method) || self.method.matches(r'${grpcMethodPattern}')`,
                  ),
                ],
              },
            ),
          }),
          { atomic: true, maxItems: 64 },
        ),
        name: sectionName,
      }),
      {
        atomic: true,
        maxItems: 16,
        rules: [
          rule(
            'While 16 rules and 64 matches per rule are allowed, the total number of matches across all rules in a route must be less than 128',
            'self.map(item, has(item.matches) ? item.matches.size() : 0).sum() <= 128',
          ),
        ],
      },
    ),
  }),
  status: routeStatus,
});
