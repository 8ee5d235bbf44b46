import { fill, fillObject, objectAt, objectsAt, stringAt, type Json } from '../json.ts';
import { appsDefaults } from './apps.ts';
import { coreDefaults } from './core.ts';

type Defaulter = (object: Json) => void;

const defaulters: Readonly<Record<string, Readonly<Record<string, Defaulter>>>> = {
  core: coreDefaults,
  apps: appsDefaults,
  admissionregistration: {
    MutatingWebhookConfiguration: (object) => defaultWebhooks(object, { reinvocationPolicy: 'Never' }),
    ValidatingWebhookConfiguration: (object) => defaultWebhooks(object, {}),
  },
  apiextensions: { CustomResourceDefinition: defaultCrd },
  authentication: {
    TokenRequest(request) {
      fill(fillObject(request, 'spec'), 'expirationSeconds', 3600);
    },
  },
  discovery: {
    EndpointSlice(slice) {
      for (const port of objectsAt(slice, 'ports')) {
        fill(port, 'name', '');
        fill(port, 'protocol', 'TCP');
      }
    },
  },
  networking: {
    IngressClass(ingressClass) {
      const parameters = objectAt(objectAt(ingressClass, 'spec'), 'parameters');
      if (parameters !== undefined) fill(parameters, 'scope', 'Cluster');
    },
    NetworkPolicy(policy) {
      const spec = fillObject(policy, 'spec');
      fill(spec, 'policyTypes', objectsAt(spec, 'egress').length > 0 ? ['Ingress', 'Egress'] : ['Ingress']);
      for (const rule of [...objectsAt(spec, 'ingress'), ...objectsAt(spec, 'egress')]) {
        for (const port of objectsAt(rule, 'ports')) fill(port, 'protocol', 'TCP');
      }
    },
  },
  rbac: { RoleBinding: defaultBinding, ClusterRoleBinding: defaultBinding },
  scheduling: {
    PriorityClass(priorityClass) {
      fill(priorityClass, 'preemptionPolicy', 'PreemptLowerPriority');
    },
  },
};

/** What a server fills into an object of a built-in kind, in place; undefined for a kind that has no such defaults. */
export function defaulterOf(table: string, kind: string): Defaulter | undefined {
  return defaulters[table]?.[kind];
}

const rbacGroup = 'rbac.authorization.k8s.io';

function defaultBinding(binding: Json): void {
  for (const subject of objectsAt(binding, 'subjects')) {
    if (subject['kind'] === 'User' || subject['kind'] === 'Group') fill(subject, 'apiGroup', rbacGroup);
  }
  const roleRef = fillObject(binding, 'roleRef');
  if (roleRef['apiGroup'] === undefined || roleRef['apiGroup'] === '') roleRef['apiGroup'] = rbacGroup;
}

function defaultCrd(crd: Json): void {
  const spec = fillObject(crd, 'spec');
  const names = fillObject(spec, 'names');
  const kind = stringAt(names, 'kind') ?? '';
  fill(names, 'singular', kind.toLowerCase());
  fill(names, 'listKind', `${kind}List`);
  const conversion = fillObject(spec, 'conversion');
  fill(conversion, 'strategy', 'None');
  if (conversion['strategy'] === '') conversion['strategy'] = 'None';
  defaultServicePort(objectAt(objectAt(conversion, 'webhook'), 'clientConfig'));
}

function defaultWebhooks(object: Json, more: Json): void {
  for (const webhook of objectsAt(object, 'webhooks')) {
    for (const [field, value] of Object.entries({
      failurePolicy: 'Fail',
      matchPolicy: 'Equivalent',
      namespaceSelector: {},
      objectSelector: {},
      timeoutSeconds: 10,
      ...more,
    })) {
      fill(webhook, field, value);
    }
    for (const rule of objectsAt(webhook, 'rules')) fill(rule, 'scope', '*');
    defaultServicePort(objectAt(webhook, 'clientConfig'));
  }
}

function defaultServicePort(clientConfig: Json | undefined): void {
  const service = objectAt(clientConfig, 'service');
  if (service !== undefined) fill(service, 'port', 443);
}
