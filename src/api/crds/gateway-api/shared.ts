import { dateTime, int32, integer, list, map, object, oneOfStrings, rule, string } from '../schema.ts';
import { sameParent, sectionsSpecified, sectionsUnique } from './rules.ts';

/** What several kinds have in common. */
export const headerName = string({ maxLength: 256, minLength: 1, pattern: "^[A-Za-z0-9!#$%&'*+\\-.^_\\x60|~]+$" });

export const kindName = string({ maxLength: 63, minLength: 1, pattern: '^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$' });

export const reason = string({ maxLength: 1024, minLength: 1, pattern: '^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$' });

export const annotationValues = map(string({ maxLength: 4096, minLength: 0 }), { maxProperties: 16 });

export const groupName = string({ maxLength: 253, pattern: '^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$' });

export const gatewayKind = string({ default: 'Gateway', maxLength: 63, minLength: 1, pattern: '^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$' });

export const serviceKind = string({ default: 'Service', maxLength: 63, minLength: 1, pattern: '^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$' });

export const sectionName = string({
  maxLength: 253,
  minLength: 1,
  pattern: '^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$',
});

export const coreGroup = string({
  default: '',
  maxLength: 253,
  pattern: '^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$',
});

export const hostname = string({
  maxLength: 253,
  minLength: 1,
  pattern: '^(\\*\\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$',
});

export const gatewayGroup = string({
  default: 'gateway.networking.k8s.io',
  maxLength: 253,
  pattern: '^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$',
});

export const conditionType = string({
  maxLength: 316,
  pattern: '^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$',
});

export const controllerName = string({
  maxLength: 253,
  minLength: 1,
  pattern: "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\\/[A-Za-z0-9\\/\\-._~%!$&'()*+,;=:]+$",
});

export const hostnames = list(hostname, { atomic: true, maxItems: 16 });

export const routeKind = object({ group: gatewayGroup, kind: kindName }, { required: ['kind'] });

export const localObjectRef = object(
  { group: groupName, kind: kindName, name: string({ maxLength: 253, minLength: 1 }) },
  { required: ['group', 'kind', 'name'] },
);

export const routeKinds = list(routeKind, { atomic: true, maxItems: 8 });

export const headerMatches = list(
  object(
    {
      name: headerName,
      type: string({ default: 'Exact', enum: ['Exact', 'RegularExpression'] }),
      value: string({ maxLength: 4096, minLength: 1 }),
    },
    { required: ['name', 'value'] },
  ),
  { keys: ['name'], maxItems: 16 },
);

export const labelSelector = object(
  {
    matchExpressions: list(
      object({ key: string(), operator: string(), values: list(string(), { atomic: true }) }, { required: ['key', 'operator'] }),
      { atomic: true },
    ),
    matchLabels: map(string()),
  },
  { atomic: true },
);

export const objectRef = object(
  {
    group: groupName,
    kind: kindName,
    name: string({ maxLength: 253, minLength: 1 }),
    namespace: string({ maxLength: 63, minLength: 1, pattern: '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$' }),
  },
  { required: ['group', 'kind', 'name'] },
);

export const secretRef = object(
  {
    group: coreGroup,
    kind: string({ default: 'Secret', maxLength: 63, minLength: 1, pattern: '^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$' }),
    name: string({ maxLength: 253, minLength: 1 }),
    namespace: string({ maxLength: 63, minLength: 1, pattern: '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$' }),
  },
  { required: ['name'] },
);

export const condition = object(
  {
    lastTransitionTime: dateTime(),
    message: string({ maxLength: 32768 }),
    observedGeneration: integer({ format: 'int64', minimum: 0 }),
    reason: reason,
    status: oneOfStrings('True', 'False', 'Unknown'),
    type: conditionType,
  },
  { required: ['lastTransitionTime', 'message', 'reason', 'status', 'type'] },
);

export const parentRef = object(
  {
    group: gatewayGroup,
    kind: gatewayKind,
    name: string({ maxLength: 253, minLength: 1 }),
    namespace: string({ maxLength: 63, minLength: 1, pattern: '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$' }),
    port: int32({ maximum: 65535, minimum: 1 }),
    sectionName: sectionName,
  },
  { required: ['name'] },
);

export const routeConditions = list(condition, { keys: ['type'], maxItems: 8, minItems: 1 });

export const headerModifier = object({
  add: list(object({ name: headerName, value: string({ maxLength: 4096, minLength: 1 }) }, { required: ['name', 'value'] }), {
    keys: ['name'],
    maxItems: 16,
  }),
  remove: list(string(), { maxItems: 16, 'x-kubernetes-list-type': 'set' }),
  set: list(object({ name: headerName, value: string({ maxLength: 4096, minLength: 1 }) }, { required: ['name', 'value'] }), {
    keys: ['name'],
    maxItems: 16,
  }),
});

export const gatewayConditions = list(condition, {
  keys: ['type'],
  default: [
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
  maxItems: 8,
});

export const requestMirror = object(
  {
    backendRef: object(
      {
        group: coreGroup,
        kind: serviceKind,
        name: string({ maxLength: 253, minLength: 1 }),
        namespace: string({ maxLength: 63, minLength: 1, pattern: '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$' }),
        port: int32({ maximum: 65535, minimum: 1 }),
      },
      {
        required: ['name'],
        rules: [rule('Must have port for Service reference', "self.group != '' || self.kind != 'Service' || has(self.port)")],
      },
    ),
    fraction: object(
      { denominator: int32({ default: 100, minimum: 1 }), numerator: int32({ minimum: 0 }) },
      {
        required: ['numerator'],
        rules: [rule('numerator must be less than or equal to denominator', 'self.numerator <= self.denominator')],
      },
    ),
    percent: int32({ maximum: 100, minimum: 0 }),
  },
  {
    required: ['backendRef'],
    rules: [
      rule('Only one of percent or fraction may be specified in HTTPRequestMirrorFilter', '!has(self.percent) || !has(self.fraction)'),
    ],
  },
);

export const listenerStatuses = list(
  object(
    {
      attachedRoutes: int32(),
      conditions: list(condition, { keys: ['type'], maxItems: 8 }),
      name: sectionName,
      supportedKinds: routeKinds,
    },
    { required: ['attachedRoutes', 'conditions', 'name'] },
  ),
  { keys: ['name'], maxItems: 64 },
);

export const parentRefs = list(parentRef, {
  atomic: true,
  maxItems: 32,
  rules: [
    sectionsSpecified('sectionName must be specified when parentRefs includes 2 or more references to the same parent', sameParent),
    sectionsUnique('sectionName must be unique when parentRefs includes 2 or more references to the same parent', sameParent),
  ],
});

export const routeStatus = object(
  {
    parents: list(
      object(
        { conditions: routeConditions, controllerName: controllerName, parentRef: parentRef },
        { required: ['conditions', 'controllerName', 'parentRef'] },
      ),
      { atomic: true, maxItems: 32 },
    ),
  },
  { required: ['parents'] },
);

export const listener = object(
  {
    allowedRoutes: object(
      {
        kinds: routeKinds,
        namespaces: object(
          { from: string({ default: 'Same', enum: ['All', 'Selector', 'Same'] }), selector: labelSelector },
          { default: { from: 'Same' } },
        ),
      },
      { default: { namespaces: { from: 'Same' } } },
    ),
    hostname: hostname,
    name: sectionName,
    port: int32({ maximum: 65535, minimum: 1 }),
    protocol: string({
      maxLength: 255,
      minLength: 1,
      pattern: '^[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?$|[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\\/[A-Za-z0-9]+$',
    }),
    tls: object(
      {
        certificateRefs: list(secretRef, { atomic: true, maxItems: 64 }),
        mode: string({ default: 'Terminate', enum: ['Terminate', 'Passthrough'] }),
        options: annotationValues,
      },
      {
        rules: [
          rule(
            'certificateRefs or options must be specified when mode is Terminate',
            "self.mode != 'Terminate' || (has(self.certificateRefs) && self.certificateRefs.size() > 0) || (has(self.options) && self.options.size() > 0)",
          ),
        ],
      },
    ),
  },
  { required: ['name', 'port', 'protocol'] },
);
