import { numberAt, objectAt, objectsAt, stringAt, stringMapAt, stringsAt, type Json } from '../json.ts';
import { age } from './age.ts';
import { podColumns } from './pod.ts';
import { ageColumn, firstThree, formatLabels, nameColumn, none, type Column } from './printer.ts';

const sizeOf = (object: Json, ...keys: readonly string[]): number =>
  keys.reduce((sum, key) => sum + Object.keys(objectAt(object, key) ?? {}).length, 0);

const statusColumn = (what: string, cell: Column['cell']): Column => ({ name: 'Status', description: `The status of the ${what}`, cell });

export const coreColumns: Readonly<Record<string, readonly Column[]>> = {
  Pod: podColumns,
  Namespace: [nameColumn, statusColumn('namespace', (object) => stringAt(objectAt(object, 'status'), 'phase') ?? ''), ageColumn],
  ConfigMap: [nameColumn, { name: 'Data', from: 'core.ConfigMap.data', cell: (object) => sizeOf(object, 'data', 'binaryData') }, ageColumn],
  Secret: [
    nameColumn,
    { name: 'Type', from: 'core.Secret.type', cell: (object) => stringAt(object, 'type') ?? '' },
    { name: 'Data', from: 'core.Secret.data', cell: (object) => sizeOf(object, 'data') },
    ageColumn,
  ],
  ServiceAccount: [nameColumn, ageColumn],
  Service: [
    nameColumn,
    { name: 'Type', from: 'core.ServiceSpec.type', cell: (object) => stringAt(objectAt(object, 'spec'), 'type') ?? '' },
    {
      name: 'Cluster-IP',
      from: 'core.ServiceSpec.clusterIP',
      cell: (object) => stringsAt(objectAt(object, 'spec'), 'clusterIPs')[0] ?? none,
    },
    { name: 'External-IP', from: 'core.ServiceSpec.externalIPs', cell: externalAddresses },
    {
      name: 'Port(s)',
      from: 'core.ServiceSpec.ports',
      cell: (object) => objectsAt(objectAt(object, 'spec'), 'ports').map(servicePort).join(',') || none,
    },
    ageColumn,
    {
      name: 'Selector',
      wide: true,
      from: 'core.ServiceSpec.selector',
      cell: (object) => formatLabels(stringMapAt(objectAt(object, 'spec'), 'selector')),
    },
  ],
  Endpoints: [
    nameColumn,
    {
      name: 'Endpoints',
      from: 'core.Endpoints.subsets',
      cell: (object) =>
        firstThree(
          objectsAt(object, 'subsets').flatMap((subset) => {
            const ports = objectsAt(subset, 'ports');
            return objectsAt(subset, 'addresses').flatMap(({ ip }) =>
              ports.length === 0 ? [String(ip)] : ports.map(({ port }) => `${String(ip)}:${String(port)}`),
            );
          }),
          none,
        ),
    },
    ageColumn,
  ],
  Node: nodeColumns(),
  Event: eventColumns(),
};

function servicePort(port: Json): string {
  const nodePort = numberAt(port, 'nodePort');
  return `${numberAt(port, 'port') ?? 0}${nodePort === undefined ? '' : `:${nodePort}`}/${stringAt(port, 'protocol') ?? ''}`;
}

function externalAddresses(service: Json): string {
  const spec = objectAt(service, 'spec');
  const external = stringsAt(spec, 'externalIPs');
  switch (stringAt(spec, 'type')) {
    case 'ExternalName':
      return stringAt(spec, 'externalName') ?? none;
    case 'LoadBalancer': {
      const ingress = objectsAt(objectAt(objectAt(service, 'status'), 'loadBalancer'), 'ingress');
      const addresses = ingress
        .map((entry) => stringAt(entry, 'ip') ?? stringAt(entry, 'hostname') ?? '')
        .filter((address) => address !== '');
      const all = [...new Set(addresses)].sort();
      return [...all, ...external].join(',') || '<pending>';
    }
    default:
      return external.join(',') || none;
  }
}

function nodeColumns(): Column[] {
  const info =
    (field: string, ifEmpty: string) =>
    (node: Json): string =>
      stringAt(objectAt(objectAt(node, 'status'), 'nodeInfo'), field) || ifEmpty;
  const address =
    (type: string) =>
    (node: Json): string =>
      stringAt(
        objectsAt(objectAt(node, 'status'), 'addresses').find((candidate) => candidate['type'] === type),
        'address',
      ) ?? none;
  const unknown = '<unknown>';
  return [
    nameColumn,
    statusColumn('node', (node) => {
      const ready = objectsAt(objectAt(node, 'status'), 'conditions').find((condition) => condition['type'] === 'Ready');
      const status = ready === undefined ? 'Unknown' : ready['status'] === 'True' ? 'Ready' : 'NotReady';
      return objectAt(node, 'spec')?.['unschedulable'] === true ? `${status},SchedulingDisabled` : status;
    }),
    { name: 'Roles', description: 'The roles of the node', cell: nodeRoles },
    ageColumn,
    { name: 'Version', from: 'core.NodeSystemInfo.kubeletVersion', cell: info('kubeletVersion', '') },
    { name: 'Internal-IP', wide: true, from: 'core.NodeStatus.addresses', cell: address('InternalIP') },
    { name: 'External-IP', wide: true, from: 'core.NodeStatus.addresses', cell: address('ExternalIP') },
    { name: 'OS-Image', wide: true, from: 'core.NodeSystemInfo.osImage', cell: info('osImage', unknown) },
    {
      name: 'Kernel-Version',
      wide: true,
      from: 'core.NodeSystemInfo.kernelVersion',
      cell(node) {
        const kernel = info('kernelVersion', unknown)(node);
        const architecture = info('architecture', '')(node);
        return kernel === unknown || architecture === '' ? kernel : `${kernel} (${architecture})`;
      },
    },
    {
      name: 'Container-Runtime',
      wide: true,
      from: 'core.NodeSystemInfo.containerRuntimeVersion',
      cell: info('containerRuntimeVersion', unknown),
    },
  ];
}

function nodeRoles(node: Json): string {
  const prefix = 'node-role.kubernetes.io/';
  const roles = Object.entries(stringMapAt(objectAt(node, 'metadata'), 'labels')).flatMap(([key, value]) => {
    if (key.startsWith(prefix) && key.length > prefix.length) return [key.slice(prefix.length)];
    return key === 'kubernetes.io/role' && value !== '' ? [value] : [];
  });
  return [...new Set(roles)].sort().join(',') || none;
}

/** An Event of v1, or of events.k8s.io/v1, which names some fields otherwise. */
function eventColumns(): Column[] {
  const series = (event: Json): Json | undefined => objectAt(event, 'series');
  const first = (event: Json, now: number): string =>
    age(event['firstTimestamp'] ?? event['deprecatedFirstTimestamp'] ?? event['eventTime'], now);
  const regarding = (event: Json): Json | undefined => objectAt(event, 'involvedObject') ?? objectAt(event, 'regarding');
  return [
    {
      name: 'Last Seen',
      from: 'core.Event.lastTimestamp',
      cell(event, now) {
        const repeated = series(event);
        if (repeated !== undefined) return age(repeated['lastObservedTime'], now);
        const last = event['lastTimestamp'] ?? event['deprecatedLastTimestamp'];
        return typeof last === 'string' ? age(last, now) : first(event, now);
      },
    },
    { name: 'Type', from: 'core.Event.type', cell: (event) => stringAt(event, 'type') ?? '' },
    { name: 'Reason', from: 'core.Event.reason', cell: (event) => stringAt(event, 'reason') ?? '' },
    {
      name: 'Object',
      from: 'core.Event.involvedObject',
      cell(event) {
        const object = regarding(event);
        const kind = (stringAt(object, 'kind') ?? '').toLowerCase();
        const name = stringAt(object, 'name') ?? '';
        return name === '' ? kind : `${kind}/${name}`;
      },
    },
    {
      name: 'Subobject',
      wide: true,
      from: 'core.ObjectReference.fieldPath',
      cell: (event) => stringAt(regarding(event), 'fieldPath') ?? '',
    },
    { name: 'Source', wide: true, from: 'core.Event.source', cell: eventSource },
    { name: 'Message', from: 'core.Event.message', cell: (event) => (stringAt(event, 'message') ?? stringAt(event, 'note') ?? '').trim() },
    { name: 'First Seen', wide: true, from: 'core.Event.firstTimestamp', cell: first },
    {
      name: 'Count',
      wide: true,
      from: 'core.Event.count',
      cell: (event) => numberAt(series(event), 'count') ?? numberAt(event, 'count') ?? numberAt(event, 'deprecatedCount') ?? 1,
    },
    { ...nameColumn, wide: true },
  ];
}

function eventSource(event: Json): string {
  const source = objectAt(event, 'source') ?? objectAt(event, 'deprecatedSource');
  const component =
    stringAt(source, 'component') || (stringAt(event, 'reportingComponent') ?? stringAt(event, 'reportingController') ?? '');
  const instance = stringAt(source, 'host') || (stringAt(event, 'reportingInstance') ?? '');
  return instance === '' ? component : `${component}, ${instance}`;
}
