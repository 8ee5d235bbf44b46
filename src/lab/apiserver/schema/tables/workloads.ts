import { numberAt, objectAt, objectsAt, stringAt, stringMapAt, type Json } from '../json.ts';
import { ageColumn, formatLabels, formatSelector, nameColumn, none, type Column } from './printer.ts';

const spec = (object: Json): Json | undefined => objectAt(object, 'spec');
const specNumber =
  (field: string) =>
  (object: Json): number =>
    numberAt(spec(object), field) ?? 0;
const statusNumber =
  (field: string) =>
  (object: Json): number =>
    numberAt(objectAt(object, 'status'), field) ?? 0;

const containers = (object: Json, field: string): string =>
  objectsAt(objectAt(objectAt(spec(object), 'template'), 'spec'), 'containers')
    .map((container) => stringAt(container, field) ?? '')
    .join(',');

const containerColumns: readonly Column[] = [
  { name: 'Containers', wide: true, description: 'Names of each container in the template.', cell: (object) => containers(object, 'name') },
  {
    name: 'Images',
    wide: true,
    description: 'Images referenced by each container in the template.',
    cell: (object) => containers(object, 'image'),
  },
];

const selectorColumn = (from: string): Column => ({
  name: 'Selector',
  wide: true,
  from,
  cell: (object) => formatSelector(objectAt(spec(object), 'selector')),
});

const readyOf = (object: Json): string => `${statusNumber('readyReplicas')(object)}/${specNumber('replicas')(object)}`;

export const workloadColumns: Readonly<Record<string, readonly Column[]>> = {
  Deployment: [
    nameColumn,
    { name: 'Ready', description: 'Number of the pod with ready state', cell: readyOf },
    { name: 'Up-to-date', from: 'apps.DeploymentStatus.updatedReplicas', cell: statusNumber('updatedReplicas') },
    { name: 'Available', from: 'apps.DeploymentStatus.availableReplicas', cell: statusNumber('availableReplicas') },
    ageColumn,
    ...containerColumns,
    selectorColumn('apps.DeploymentSpec.selector'),
  ],
  ReplicaSet: [
    nameColumn,
    { name: 'Desired', type: 'integer', from: 'apps.ReplicaSetSpec.replicas', cell: specNumber('replicas') },
    { name: 'Current', type: 'integer', from: 'apps.ReplicaSetStatus.replicas', cell: statusNumber('replicas') },
    { name: 'Ready', type: 'integer', from: 'apps.ReplicaSetStatus.readyReplicas', cell: statusNumber('readyReplicas') },
    ageColumn,
    ...containerColumns,
    selectorColumn('apps.ReplicaSetSpec.selector'),
  ],
  DaemonSet: [
    nameColumn,
    { name: 'Desired', type: 'integer', from: 'apps.DaemonSetStatus.desiredNumberScheduled', cell: statusNumber('desiredNumberScheduled') },
    { name: 'Current', type: 'integer', from: 'apps.DaemonSetStatus.currentNumberScheduled', cell: statusNumber('currentNumberScheduled') },
    { name: 'Ready', type: 'integer', from: 'apps.DaemonSetStatus.numberReady', cell: statusNumber('numberReady') },
    {
      name: 'Up-to-date',
      type: 'integer',
      from: 'apps.DaemonSetStatus.updatedNumberScheduled',
      cell: statusNumber('updatedNumberScheduled'),
    },
    { name: 'Available', type: 'integer', from: 'apps.DaemonSetStatus.numberAvailable', cell: statusNumber('numberAvailable') },
    {
      name: 'Node Selector',
      from: 'core.PodSpec.nodeSelector',
      cell: (object) => formatLabels(stringMapAt(objectAt(objectAt(spec(object), 'template'), 'spec'), 'nodeSelector')),
    },
    ageColumn,
    ...containerColumns,
    selectorColumn('apps.DaemonSetSpec.selector'),
  ],
  StatefulSet: [
    nameColumn,
    { name: 'Ready', description: 'Number of the pod with ready state', cell: readyOf },
    ageColumn,
    ...containerColumns,
  ],
  ControllerRevision: [
    nameColumn,
    {
      name: 'Controller',
      description: 'The object that keeps this revision.',
      cell(object) {
        const owner = objectsAt(objectAt(object, 'metadata'), 'ownerReferences').find((reference) => reference['controller'] === true);
        if (owner === undefined) return none;
        const [group = ''] = (stringAt(owner, 'apiVersion') ?? '').split('/');
        return `${(stringAt(owner, 'kind') ?? '').toLowerCase()}.${group}/${stringAt(owner, 'name') ?? ''}`;
      },
    },
    { name: 'Revision', from: 'apps.ControllerRevision.revision', cell: (object) => numberAt(object, 'revision') ?? 0 },
    ageColumn,
  ],
};
