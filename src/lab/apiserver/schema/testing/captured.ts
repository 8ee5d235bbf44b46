import { readFileSync } from 'node:fs';

import { gatewayApiCrds, istioCrds } from '../../../../api/crds/index.ts';
import type { AnyObject } from '../../../../api/kubernetes.ts';
import { builtinResources, crdSchema, crdToResourceInfo, schemaFor, type ResourceInfo, type TypeSchema } from '../index.ts';
import { isObject, objectAt, objectsAt, stringAt, type Json } from '../json.ts';

/** A call to a real API server and what it answered; recorded one after the other, each on the state that the earlier ones left. */
export interface Captured {
  readonly id: string;
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly body: unknown;
  readonly status: number;
  readonly answer: Json;
}

const folder = new URL('../../../../../test/fixtures/captures/kube-api/', import.meta.url);

export function fixture(name: string): string {
  return readFileSync(new URL(name, folder), 'utf8');
}

/** All recorded calls, in order. */
export const captured: readonly Captured[] = fixture('answers.jsonl')
  .trim()
  .split('\n')
  .map((line): Captured => {
    // The cast: the shape of the recording, as its README gives it.
    const call = JSON.parse(line) as {
      case: { id: string; method: string; path: string; body?: unknown };
      answer: { status: number; body: unknown };
    };
    const [path = '', query = ''] = call.case.path.split('?');
    const { id, method, body } = call.case;
    return {
      id,
      method,
      path,
      query: new URLSearchParams(query),
      body,
      status: call.answer.status,
      answer: isObject(call.answer.body) ? call.answer.body : {},
    };
  });

export function capturedById(id: string): Captured {
  const found = captured.find((call) => call.id === id);
  if (found === undefined) throw new Error(`nothing is recorded as ${id}`);
  return found;
}

/** The CRDs that the recorded server had: Istio's, the Gateway API's, and one made on the way. */
export const installedCrds: readonly AnyObject[] = [
  // The cast: a manifest is an object, read by name here.
  ...([...istioCrds(), ...gatewayApiCrds()] as unknown as AnyObject[]),
  capturedById('crd-create').body as AnyObject,
];

export interface Kind {
  readonly resource: ResourceInfo;
  readonly schema: TypeSchema;
  readonly crd: AnyObject | undefined;
}

/** The kind of an object; undefined when it is not served here. */
export function kindOf(object: Json): Kind | undefined {
  const apiVersion = stringAt(object, 'apiVersion') ?? '';
  const [group = '', version = ''] = apiVersion.includes('/') ? apiVersion.split('/') : ['', apiVersion];
  const kind = stringAt(object, 'kind') ?? '';
  const is = (resource: ResourceInfo): boolean => resource.group === group && resource.version === version && resource.kind === kind;
  const builtin = builtinResources.find(is);
  if (builtin !== undefined) return { resource: builtin, schema: schemaFor(builtin), crd: undefined };
  for (const crd of installedCrds) {
    const resource = crdToResourceInfo(crd).find(is);
    if (resource !== undefined) return { resource, schema: crdSchema(crd, version), crd };
  }
  return undefined;
}

/** A body as the server sees it when it validates it: read, in its namespace, with defaults. */
export function admitted({ schema, resource, crd }: Kind, body: unknown): AnyObject {
  const { object } = schema.prune(body, { mode: 'drop' });
  if (resource.namespaced) object.metadata.namespace ??= 't1';
  // The status of a custom resource is not its creator's to give.
  if (crd !== undefined) delete object['status'];
  return schema.default(object);
}

/** What a recorded error tells of fields, in the order of the text: servers list fields of a map in any order. */
export function causesOf(answer: Json): Json[] {
  return inOrder(objectsAt(objectAt(answer, 'details'), 'causes'));
}

export function inOrder(causes: readonly unknown[]): Json[] {
  // The cast: causes are objects; copied to have the keys in one order.
  return (causes as Json[])
    .map(({ reason, message, field }) => ({ reason, message, field }))
    .sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
}

/** The state of every object after each call that changed it, by its path. */
export function lastStates(until: Captured): ReadonlyMap<string, Json> {
  const states = new Map<string, Json>();
  for (const call of captured.slice(0, captured.indexOf(until))) {
    const name = stringAt(objectAt(call.answer, 'metadata'), 'name');
    // A scale and a token carry the metadata of the object that they are of.
    const isOther = ['Scale', 'TokenRequest'].includes(String(call.answer['kind']));
    if (call.status >= 300 || name === undefined || isOther || call.query.has('dryRun')) continue;
    states.set(call.method === 'POST' ? `${call.path}/${name}` : call.path.replace(/\/status$/, ''), call.answer);
  }
  return states;
}
