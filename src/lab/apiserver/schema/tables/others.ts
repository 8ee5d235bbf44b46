import { numberAt, objectAt, objectsAt, stringAt, stringsAt, type Json } from '../json.ts';
import { ageColumn, createdColumn, firstThree, formatSelector, nameColumn, none, type Column } from './printer.ts';

const spec = (object: Json): Json | undefined => objectAt(object, 'spec');
/** A number or a percentage. */
const amountOf = (value: unknown): string => (typeof value === 'number' || typeof value === 'string' ? String(value) : 'N/A');

const created: readonly Column[] = [nameColumn, createdColumn];

const subjects = (binding: Json, kind: string): string =>
  objectsAt(binding, 'subjects')
    .filter((subject) => subject['kind'] === kind)
    .map((subject) => (kind === 'ServiceAccount' ? `${stringAt(subject, 'namespace') ?? ''}/` : '') + (stringAt(subject, 'name') ?? ''))
    .join(', ');

const bindingColumns = (type: string): readonly Column[] => [
  nameColumn,
  {
    name: 'Role',
    from: `rbac.${type}.roleRef`,
    cell(binding) {
      const role = objectAt(binding, 'roleRef');
      return `${stringAt(role, 'kind') ?? ''}/${stringAt(role, 'name') ?? ''}`;
    },
  },
  ageColumn,
  { name: 'Users', wide: true, description: 'Users in the roleBinding', cell: (binding) => subjects(binding, 'User') },
  { name: 'Groups', wide: true, description: 'Groups in the roleBinding', cell: (binding) => subjects(binding, 'Group') },
  {
    name: 'ServiceAccounts',
    wide: true,
    description: 'ServiceAccounts in the roleBinding',
    cell: (binding) => subjects(binding, 'ServiceAccount'),
  },
];

const webhooks: readonly Column[] = [
  nameColumn,
  {
    name: 'Webhooks',
    type: 'integer',
    description: 'How many webhooks there are.',
    cell: (object) => objectsAt(object, 'webhooks').length,
  },
  ageColumn,
];

const ingress: readonly Column[] = [
  nameColumn,
  {
    name: 'Class',
    description: 'The name of the IngressClass resource that should be used for additional configuration',
    cell: (object) => stringAt(spec(object), 'ingressClassName') ?? none,
  },
  {
    name: 'Hosts',
    description: 'Hosts that incoming requests are matched against before the ingress rule',
    cell(object) {
      const hosts = objectsAt(spec(object), 'rules').flatMap((rule) => stringAt(rule, 'host') || []);
      return firstThree(hosts, '*');
    },
  },
  {
    name: 'Address',
    description: 'Address is a list containing ingress points for the load-balancer',
    cell(object) {
      const points = objectsAt(objectAt(objectAt(object, 'status'), 'loadBalancer'), 'ingress');
      return points.map((point) => stringAt(point, 'ip') ?? stringAt(point, 'hostname') ?? '').join(',');
    },
  },
  {
    name: 'Ports',
    description: 'Ports of TLS configurations that open',
    cell: (object) => (objectsAt(spec(object), 'tls').length > 0 ? '80, 443' : '80'),
  },
  ageColumn,
];

const ingressClass: readonly Column[] = [
  nameColumn,
  {
    name: 'Controller',
    description: 'Controller that is responsible for handling this class',
    cell: (object) => stringAt(spec(object), 'controller') ?? '',
  },
  {
    name: 'Parameters',
    description: 'A reference to a resource with additional parameters',
    cell(object) {
      const parameters = objectAt(spec(object), 'parameters');
      if (parameters === undefined) return none;
      const group = stringAt(parameters, 'apiGroup');
      return `${stringAt(parameters, 'kind') ?? ''}${group === undefined ? '' : `.${group}`}/${stringAt(parameters, 'name') ?? ''}`;
    },
  },
  ageColumn,
];

/** The columns of the groups that have one or two kinds, by table and kind. */
export const otherColumns: Readonly<Record<string, Readonly<Record<string, readonly Column[]>>>> = {
  admissionregistration: { MutatingWebhookConfiguration: webhooks, ValidatingWebhookConfiguration: webhooks },
  apiextensions: { CustomResourceDefinition: created },
  coordination: {
    Lease: [
      nameColumn,
      { name: 'Holder', from: 'coordination.LeaseSpec.holderIdentity', cell: (lease) => stringAt(spec(lease), 'holderIdentity') ?? '' },
      ageColumn,
    ],
  },
  discovery: {
    EndpointSlice: [
      nameColumn,
      { name: 'AddressType', from: 'discovery.EndpointSlice.addressType', cell: (slice) => stringAt(slice, 'addressType') ?? '' },
      {
        name: 'Ports',
        from: 'discovery.EndpointSlice.ports',
        cell: (slice) =>
          firstThree(
            objectsAt(slice, 'ports').map((port) => String(numberAt(port, 'port') ?? '*')),
            '<unset>',
          ),
      },
      {
        name: 'Endpoints',
        from: 'discovery.EndpointSlice.endpoints',
        cell: (slice) =>
          firstThree(
            objectsAt(slice, 'endpoints').flatMap((endpoint) => stringsAt(endpoint, 'addresses')),
            '<unset>',
          ),
      },
      ageColumn,
    ],
  },
  networking: {
    Ingress: ingress,
    IngressClass: ingressClass,
    NetworkPolicy: [
      nameColumn,
      {
        name: 'Pod-Selector',
        from: 'networking.NetworkPolicySpec.podSelector',
        cell: (policy) => formatSelector(objectAt(spec(policy), 'podSelector')),
      },
      ageColumn,
    ],
  },
  policy: {
    PodDisruptionBudget: [
      nameColumn,
      {
        name: 'Min Available',
        from: 'policy.PodDisruptionBudgetSpec.minAvailable',
        cell: (budget) => amountOf(spec(budget)?.['minAvailable']),
      },
      {
        name: 'Max Unavailable',
        from: 'policy.PodDisruptionBudgetSpec.maxUnavailable',
        cell: (budget) => amountOf(spec(budget)?.['maxUnavailable']),
      },
      {
        name: 'Allowed Disruptions',
        type: 'integer',
        from: 'policy.PodDisruptionBudgetStatus.disruptionsAllowed',
        cell: (budget) => numberAt(objectAt(budget, 'status'), 'disruptionsAllowed') ?? 0,
      },
      ageColumn,
    ],
  },
  rbac: {
    Role: created,
    ClusterRole: created,
    RoleBinding: bindingColumns('RoleBinding'),
    ClusterRoleBinding: bindingColumns('ClusterRoleBinding'),
  },
  scheduling: {
    PriorityClass: [
      nameColumn,
      { name: 'Value', type: 'integer', from: 'scheduling.PriorityClass.value', cell: (object) => numberAt(object, 'value') ?? 0 },
      {
        name: 'Global-Default',
        type: 'boolean',
        from: 'scheduling.PriorityClass.globalDefault',
        cell: (object) => object['globalDefault'] === true,
      },
      ageColumn,
      {
        name: 'PreemptionPolicy',
        from: 'scheduling.PriorityClass.preemptionPolicy',
        cell: (object) => stringAt(object, 'preemptionPolicy') ?? none,
      },
    ],
  },
};
