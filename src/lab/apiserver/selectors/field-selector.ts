import type { AnyObject } from '../../../api/kubernetes.ts';
import { asObject, isObject } from '../json.ts';
import type { ResourceInfo } from '../schema/index.ts';
import { badRequest } from '../status.ts';

/** The fields that lists of a kind can be selected by, besides metadata.name and metadata.namespace. */
const selectable: Readonly<Record<string, readonly string[]>> = {
  'pods.': [
    'spec.nodeName',
    'spec.restartPolicy',
    'spec.schedulerName',
    'spec.serviceAccountName',
    'spec.hostNetwork',
    'status.phase',
    'status.podIP',
    'status.podIPs',
    'status.nominatedNodeName',
  ],
  'events.': [
    'involvedObject.kind',
    'involvedObject.namespace',
    'involvedObject.name',
    'involvedObject.uid',
    'involvedObject.apiVersion',
    'involvedObject.resourceVersion',
    'involvedObject.fieldPath',
    'reason',
    'reportingComponent',
    'source',
    'type',
  ],
  'namespaces.': ['status.phase'],
  'nodes.': ['spec.unschedulable'],
  'secrets.': ['type'],
  'services.': ['spec.clusterIP', 'spec.type'],
  'replicasets.apps': ['status.replicas'],
};

export interface FieldSelector {
  matches(object: AnyObject): boolean;
  /** The name when the selector asks for one by metadata.name. */
  readonly name: string | undefined;
}

/** Parses `a=b,c!=d`; throws the API's 400 for a field that the resource cannot be selected by. */
export function parseFieldSelector(text: string, resource: Pick<ResourceInfo, 'plural' | 'group' | 'crd'>): FieldSelector {
  const terms = text.split(/(?<!\\),/).filter((term) => term !== '');
  const known = ['metadata.name', 'metadata.namespace', ...(selectable[`${resource.plural}.${resource.group}`] ?? [])];
  const requirements = terms.map((term) => {
    const parts = /^(.*?)(!=|==|=)(.*)$/.exec(term);
    if (parts === null) throw badRequest(`invalid selector: '${term}'; can't understand '${term}'`);
    const [, path = '', operator, value = ''] = parts;
    if (!known.includes(path)) throw unknownField(path, resource, known);
    return { path, equal: operator !== '!=', value: value.replaceAll(/\\([,=\\])/g, '$1') };
  });
  return {
    matches: (object) => requirements.every(({ path, equal, value }) => (fieldValue(object, path) === value) === equal),
    name: requirements.find(({ path, equal }) => path === 'metadata.name' && equal)?.value,
  };
}

function unknownField(path: string, resource: Pick<ResourceInfo, 'plural' | 'group' | 'crd'>, known: readonly string[]): Error {
  if (resource.crd !== undefined) return badRequest(`field label not supported: ${path}`);
  if (known.length > 2) return badRequest(`field label not supported: ${path}`);
  return badRequest(`${JSON.stringify(path)} is not a known field selector: only "metadata.name", "metadata.namespace"`);
}

function fieldValue(object: AnyObject, path: string): string {
  // Two fields whose names do not say where they are.
  if (path === 'source') return text(asObject(object['source'])['component']) || text(object['reportingComponent']);
  if (path === 'status.podIPs') return text(asObject(object['status'])['podIP']);
  let value: unknown = object;
  for (const key of path.split('.')) value = isObject(value) ? value[key] : undefined;
  return text(value, path);
}

function text(value: unknown, path?: string): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  return path === 'spec.unschedulable' || path === 'spec.hostNetwork' ? 'false' : '';
}
