import { groupVersionOf } from '../discovery.ts';
import type { ResourceInfo, Verb } from '../types.ts';

type Json = Record<string, unknown>;

/** A parameter of a query: clients look whether an operation has it before they send it. */
const query = (name: string, type: 'string' | 'boolean' | 'integer' = 'string'): Json => ({
  name,
  in: 'query',
  schema: { type, uniqueItems: true },
});

const writing = [query('dryRun'), query('fieldManager'), query('fieldValidation')];
const listing = [
  query('allowWatchBookmarks', 'boolean'),
  query('continue'),
  query('fieldSelector'),
  query('labelSelector'),
  query('limit', 'integer'),
  query('resourceVersion'),
  query('resourceVersionMatch'),
  query('sendInitialEvents', 'boolean'),
  query('timeoutSeconds', 'integer'),
  query('watch', 'boolean'),
];
const patchTypes = ['application/apply-patch+yaml', 'application/json-patch+json', 'application/merge-patch+json'];
/** Built-in kinds alone; kubectl apply decides by this how it patches. */
const strategicPatch = 'application/strategic-merge-patch+json';

/** References to the models that a resource's bodies are. */
export interface ResourceModels {
  readonly object: Json;
  readonly list: Json;
}

interface Operation {
  readonly method: 'get' | 'post' | 'put' | 'patch' | 'delete';
  readonly action: string;
  readonly parameters: readonly Json[];
  readonly answer: Json | undefined;
}

/** The paths of a resource: the collection, across namespaces too, and the object. */
export function resourcePaths(resource: ResourceInfo, models: ResourceModels): [string, Json][] {
  const root = `${resource.group === '' ? '/api' : '/apis'}/${groupVersionOf(resource)}`;
  const collection = `${root}${resource.namespaced ? '/namespaces/{namespace}' : ''}/${resource.plural}`;
  const paths: [string, Json][] = [
    [collection, path(resource, collectionOperations(models), resource.namespaced ? ['namespace'] : [])],
    [`${collection}/{name}`, path(resource, objectOperations(models), resource.namespaced ? ['name', 'namespace'] : ['name'])],
  ];
  if (resource.namespaced && resource.verbs.includes('list')) {
    paths.push([`${root}/${resource.plural}`, path(resource, { list: collectionOperations(models)['list'] }, [])]);
  }
  // A resource that only takes orders has no objects of its own.
  return paths.filter(([, item]) => Object.keys(item).some((key) => key !== 'parameters'));
}

function collectionOperations({ object, list }: ResourceModels): Partial<Record<Verb, Operation>> {
  return {
    list: { method: 'get', action: 'list', parameters: listing, answer: list },
    create: { method: 'post', action: 'post', parameters: writing, answer: object },
    deletecollection: { method: 'delete', action: 'deletecollection', parameters: [query('dryRun'), ...listing], answer: undefined },
  };
}

function objectOperations({ object }: ResourceModels): Partial<Record<Verb, Operation>> {
  return {
    get: { method: 'get', action: 'get', parameters: [], answer: object },
    update: { method: 'put', action: 'put', parameters: writing, answer: object },
    patch: { method: 'patch', action: 'patch', parameters: [...writing, query('force', 'boolean')], answer: object },
    delete: {
      method: 'delete',
      action: 'delete',
      parameters: [
        query('dryRun'),
        query('gracePeriodSeconds', 'integer'),
        query('orphanDependents', 'boolean'),
        query('propagationPolicy'),
      ],
      answer: undefined,
    },
  };
}

function path(resource: ResourceInfo, operations: Partial<Record<Verb, Operation | undefined>>, inPath: readonly string[]): Json {
  const gvk = { group: resource.group, kind: resource.kind, version: resource.version };
  const patches = resource.crd === undefined ? [...patchTypes, strategicPatch] : patchTypes;
  const item: Json = {};
  for (const verb of resource.verbs) {
    const operation = operations[verb];
    if (operation === undefined) continue;
    const { method, action, parameters, answer } = operation;
    const content = { 'application/json': { schema: answer ?? {} } };
    item[method] = {
      operationId: `${action}${resource.group}${resource.version}${resource.kind}${inPath.join('')}`.replace(/[^a-zA-Z0-9]/g, ''),
      parameters,
      ...(method === 'post' || method === 'put' ? { requestBody: { required: true, content: { '*/*': { schema: answer ?? {} } } } } : {}),
      ...(method === 'patch'
        ? { requestBody: { required: true, content: Object.fromEntries(patches.map((type) => [type, { schema: {} }])) } }
        : {}),
      responses: { 200: { description: 'OK', content } },
      'x-kubernetes-action': action,
      'x-kubernetes-group-version-kind': gvk,
    };
  }
  const parameters = inPath.map((name) => ({ name, in: 'path', required: true, schema: { type: 'string', uniqueItems: true } }));
  return parameters.length === 0 ? item : { ...item, parameters };
}
