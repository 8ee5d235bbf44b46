import { boolean, int32, integer, list, object, oneOfStrings, rule, string } from '../schema.ts';
import { filterUnion, notRepeated, pathPattern, prefixReplacementNeedsPrefix, replacesPrefix } from './rules.ts';
import { age, column, define } from './define.ts';
import {
  coreGroup,
  headerMatches,
  headerModifier,
  headerName,
  hostnames,
  localObjectRef,
  parentRefs,
  requestMirror,
  routeStatus,
  sectionName,
  serviceKind,
} from './shared.ts';

const pathModifier = object(
  {
    replaceFullPath: string({ maxLength: 1024 }),
    replacePrefixMatch: string({ maxLength: 1024 }),
    type: oneOfStrings('ReplaceFullPath', 'ReplacePrefixMatch'),
  },
  {
    required: ['type'],
    rules: [
      rule(
        "replaceFullPath must be specified when type is set to 'ReplaceFullPath'",
        "self.type != 'ReplaceFullPath' || has(self.replaceFullPath)",
      ),
      rule("type must be 'ReplaceFullPath' when replaceFullPath is set", "!has(self.replaceFullPath) || self.type == 'ReplaceFullPath'"),
      rule(
        "replacePrefixMatch must be specified when type is set to 'ReplacePrefixMatch'",
        "self.type != 'ReplacePrefixMatch' || has(self.replacePrefixMatch)",
      ),
      rule(
        "type must be 'ReplacePrefixMatch' when replacePrefixMatch is set",
        "!has(self.replacePrefixMatch) || self.type == 'ReplacePrefixMatch'",
      ),
    ],
  },
);

const filters = list(
  object(
    {
      cors: object({
        allowCredentials: boolean(),
        allowHeaders: list(headerName, {
          maxItems: 64,
          'x-kubernetes-list-type': 'set',
          rules: [rule("AllowHeaders cannot contain '*' alongside other methods", "!('*' in self) || self.size() == 1")],
        }),
        allowMethods: list(oneOfStrings('GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH', '*'), {
          maxItems: 9,
          'x-kubernetes-list-type': 'set',
          rules: [rule("AllowMethods cannot contain '*' alongside other methods", "!('*' in self) || self.size() == 1")],
        }),
        allowOrigins: list(
          string({
            maxLength: 253,
            minLength: 1,
            pattern: '(^\\*$)|(^(http(s)?):\\/\\/(((\\*\\.)?([a-zA-Z0-9\\-]+\\.)*[a-zA-Z0-9-]+|\\*)(:([0-9]{1,5}))?)$)',
          }),
          {
            maxItems: 64,
            'x-kubernetes-list-type': 'set',
            rules: [rule("AllowOrigins cannot contain '*' alongside other origins", "!('*' in self) || self.size() == 1")],
          },
        ),
        exposeHeaders: list(headerName, { maxItems: 64, 'x-kubernetes-list-type': 'set' }),
        maxAge: int32({ default: 5, minimum: 1 }),
      }),
      extensionRef: localObjectRef,
      requestHeaderModifier: headerModifier,
      requestMirror,
      requestRedirect: object({
        hostname: sectionName,
        path: pathModifier,
        port: int32({ maximum: 65535, minimum: 1 }),
        scheme: oneOfStrings('http', 'https'),
        statusCode: integer({ default: 302, enum: [301, 302, 303, 307, 308] }),
      }),
      responseHeaderModifier: headerModifier,
      type: oneOfStrings(
        'RequestHeaderModifier',
        'ResponseHeaderModifier',
        'RequestMirror',
        'RequestRedirect',
        'URLRewrite',
        'ExtensionRef',
        'CORS',
      ),
      urlRewrite: object({ hostname: sectionName, path: pathModifier }),
    },
    {
      required: ['type'],
      rules: [
        ...filterUnion({
          cors: 'CORS',
          requestHeaderModifier: 'RequestHeaderModifier',
          responseHeaderModifier: 'ResponseHeaderModifier',
          requestMirror: 'RequestMirror',
          requestRedirect: 'RequestRedirect',
          urlRewrite: 'URLRewrite',
          extensionRef: 'ExtensionRef',
        }),
      ],
    },
  ),
  {
    atomic: true,
    maxItems: 16,
    rules: [
      rule(
        'May specify either httpRouteFilterRequestRedirect or httpRouteFilterRequestRewrite, but not both',
        "!self.exists(item, item.type == 'RequestRedirect') || !self.exists(item, item.type == 'URLRewrite')",
      ),
      ...notRepeated('CORS', 'RequestHeaderModifier', 'ResponseHeaderModifier', 'RequestRedirect', 'URLRewrite'),
    ],
  },
);

export const httpRoute = define({
  group: 'gateway.networking.k8s.io',
  plural: 'httproutes',
  kind: 'HTTPRoute',
  versions: ['v1', 'v1beta1'],
  storage: 'v1',
  required: ['spec'],
  columns: [column('Hostnames', '.spec.hostnames'), age],
  spec: object({
    hostnames,
    parentRefs,
    rules: list(
      object(
        {
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
              method: oneOfStrings('GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH'),
              path: object(
                {
                  type: string({ default: 'PathPrefix', enum: ['Exact', 'PathPrefix', 'RegularExpression'] }),
                  value: string({ default: '/', maxLength: 1024 }),
                },
                {
                  default: { type: 'PathPrefix', value: '/' },
                  rules: [
                    rule(
                      "value must be an absolute path and start with '/' when type one of ['Exact', 'PathPrefix']",
                      "!(self.type in ['Exact', 'PathPrefix']) || self.value.startsWith('/')",
                    ),
                    rule(
                      "must not contain '//' when type one of ['Exact', 'PathPrefix']",
                      "!(self.type in ['Exact', 'PathPrefix']) || !self.value.contains('//')",
                    ),
                    rule(
                      "must not contain '/./' when type one of ['Exact', 'PathPrefix']",
                      "!(self.type in ['Exact', 'PathPrefix']) || !self.value.contains('/./')",
                    ),
                    rule(
                      "must not contain '/../' when type one of ['Exact', 'PathPrefix']",
                      "!(self.type in ['Exact', 'PathPrefix']) || !self.value.contains('/../')",
                    ),
                    rule(
                      "must not contain '%2f' when type one of ['Exact', 'PathPrefix']",
                      "!(self.type in ['Exact', 'PathPrefix']) || !self.value.contains('%2f')",
                    ),
                    rule(
                      "must not contain '%2F' when type one of ['Exact', 'PathPrefix']",
                      "!(self.type in ['Exact', 'PathPrefix']) || !self.value.contains('%2F')",
                    ),
                    rule(
                      "must not contain '#' when type one of ['Exact', 'PathPrefix']",
                      "!(self.type in ['Exact', 'PathPrefix']) || !self.value.contains('#')",
                    ),
                    rule(
                      "must not end with '/..' when type one of ['Exact', 'PathPrefix']",
                      "!(self.type in ['Exact', 'PathPrefix']) || !self.value.endsWith('/..')",
                    ),
                    rule(
                      "must not end with '/.' when type one of ['Exact', 'PathPrefix']",
                      "!(self.type in ['Exact', 'PathPrefix']) || !self.value.endsWith('/.')",
                    ),
                    rule(
                      "type must be one of ['Exact', 'PathPrefix', 'RegularExpression']",
                      "self.type in ['Exact', 'PathPrefix', 'RegularExpression']",
                    ),
                    rule(
                      `must only contain valid characters (matching ${pathPattern}) for types ['Exact', 'PathPrefix']`,
                      `!(self.type in ['Exact', 'PathPrefix']) || self.value.matches(r"${pathPattern}")`,
                    ),
                  ],
                },
              ),
              queryParams: list(
                object(
                  {
                    name: headerName,
                    type: string({ default: 'Exact', enum: ['Exact', 'RegularExpression'] }),
                    value: string({ maxLength: 1024, minLength: 1 }),
                  },
                  { required: ['name', 'value'] },
                ),
                { keys: ['name'], maxItems: 16 },
              ),
            }),
            { atomic: true, default: [{ path: { type: 'PathPrefix', value: '/' } }], maxItems: 64 },
          ),
          name: sectionName,
          timeouts: object(
            {
              backendRequest: string({ pattern: '^([0-9]{1,5}(h|m|s|ms)){1,4}$' }),
              request: string({ pattern: '^([0-9]{1,5}(h|m|s|ms)){1,4}$' }),
            },
            {
              rules: [
                rule(
                  'backendRequest timeout cannot be longer than request timeout',
                  "!has(self.request) || !has(self.backendRequest) || duration(self.request) == duration('0s') || duration(self.backendRequest) <= duration(self.request)",
                ),
              ],
            },
          ),
        },
        {
          rules: [
            rule(
              'RequestRedirect filter must not be used together with backendRefs',
              '!has(self.backendRefs) || self.backendRefs.size() == 0 || !has(self.filters) || !self.filters.exists(item, has(item.requestRedirect))',
            ),
            prefixReplacementNeedsPrefix(
              'When using RequestRedirect filter with path.replacePrefixMatch, exactly one PathPrefix match must be specified',
              `has(self.filters) && ${replacesPrefix('self.filters', 'requestRedirect')}`,
            ),
            prefixReplacementNeedsPrefix(
              'When using URLRewrite filter with path.replacePrefixMatch, exactly one PathPrefix match must be specified',
              `has(self.filters) && ${replacesPrefix('self.filters', 'urlRewrite')}`,
            ),
            prefixReplacementNeedsPrefix(
              'Within backendRefs, when using RequestRedirect filter with path.replacePrefixMatch, exactly one PathPrefix match must be specified',
              `has(self.backendRefs) && self.backendRefs.exists_one(backend, has(backend.filters) && ${replacesPrefix('backend.filters', 'requestRedirect')})`,
            ),
            prefixReplacementNeedsPrefix(
              'Within backendRefs, When using URLRewrite filter with path.replacePrefixMatch, exactly one PathPrefix match must be specified',
              `has(self.backendRefs) && self.backendRefs.exists_one(backend, has(backend.filters) && ${replacesPrefix('backend.filters', 'urlRewrite')})`,
            ),
          ],
        },
      ),
      {
        atomic: true,
        default: [{ matches: [{ path: { type: 'PathPrefix', value: '/' } }] }],
        maxItems: 16,
        minItems: 1,
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
