import type { AnyObject } from '../../../api/kubernetes.ts';
import { asList, asObject, clone, isObject, printed, type JsonObject } from '../json.ts';
import type { ServedResource } from '../registry.ts';
import { decodeBody } from '../rest/decode.ts';
import { patchObject, patchType } from '../rest/patch.ts';
import { find, finishUpdate, own } from '../rest/update.ts';
import { schemaFor } from '../schema/index.ts';
import { badRequest, invalid, methodNotAllowed, modified } from '../status.ts';
import { contentType, decodeBytes, decodePatch, readBytes } from './read-body.ts';
import { replyTo, writeOptions, type ResourceCall } from './resource-handler.ts';
import { sendDocument } from './respond.ts';

const scaleKind = { kind: 'Scale', apiVersion: 'autoscaling/v1', group: 'autoscaling', custom: false };
const scaleType = { group: 'autoscaling', version: 'v1', kind: 'Scale' };

/** Where a resource keeps its replicas. */
interface ScalePaths {
  readonly spec: readonly string[];
  readonly status: readonly string[];
  readonly selector: readonly string[] | undefined;
}

/** Serves the subresource `scale`: the replicas of a workload, or of a custom resource, as a Scale. */
export async function handleScale(call: ResourceCall): Promise<void> {
  const { cluster, info, target, resource, request } = call;
  const { namespace, name = '' } = target;
  const reply = replyTo(call);
  const paths = scalePaths(resource);
  const old = find(cluster, resource, namespace, name);
  if (info.verb === 'get') {
    sendDocument(reply, 200, toScale(old, paths));
    return;
  }
  if (info.verb !== 'update' && info.verb !== 'patch') throw methodNotAllowed();
  const type = info.verb === 'patch' ? patchType(contentType(request), resource) : undefined;
  const bytes = await readBytes(request);
  const options = writeOptions(call, reply, info.verb === 'update' ? 'UpdateOptions' : 'PatchOptions');
  const schema = schemaFor(scaleType);
  const before = toScale(old, paths);
  const sent =
    type === undefined
      ? decodeBytes(bytes, contentType(request), 'Scale')
      : patchObject({ type, patch: decodePatch(bytes, contentType(request)) }, before, (path) => schema.mergeStrategy(path));
  const scale = schema.default(decodeBody(sent, scaleKind, schema, options));
  if (scale.metadata.name !== name) {
    throw badRequest(`the name of the object (${scale.metadata.name}) does not match the name on the URL (${name})`);
  }
  const { resourceVersion = '' } = scale.metadata;
  if (resourceVersion !== '' && resourceVersion !== old.metadata.resourceVersion) throw modified(resource.info, name);
  const replicas = asObject(scale['spec'])['replicas'] ?? 0;
  if (typeof replicas !== 'number' || replicas < 0) {
    throw invalid({ kind: 'Scale', group: 'autoscaling' }, name, [
      {
        reason: 'FieldValueInvalid',
        field: 'spec.replicas',
        message: `Invalid value: ${printed(replicas)}: must be greater than or equal to 0`,
      },
    ]);
  }
  const next = clone(old);
  setAt(next, paths.spec, replicas);
  const owned = own(cluster, { resource, subresource: 'scale', options }, old, next);
  sendDocument(reply, 200, toScale(finishUpdate(cluster, { resource, subresource: '', old, next: owned, options }), paths));
}

function scalePaths({ crd, info }: ServedResource): ScalePaths {
  if (crd === undefined) return { spec: ['spec', 'replicas'], status: ['status', 'replicas'], selector: ['spec', 'selector'] };
  const version = asList(asObject(crd['spec'])['versions'])
    .map(asObject)
    .find(({ name }) => name === info.version);
  const scale = asObject(asObject(version?.['subresources'])['scale']);
  const path = (value: unknown): string[] =>
    String(value)
      .split('.')
      .filter((part) => part !== '');
  const selector = scale['labelSelectorPath'];
  return {
    spec: path(scale['specReplicasPath']),
    status: path(scale['statusReplicasPath']),
    selector: selector === undefined ? undefined : path(selector),
  };
}

function toScale(object: AnyObject, paths: ScalePaths): AnyObject {
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata;
  const selector = paths.selector === undefined ? undefined : selectorText(getAt(object, paths.selector));
  const metadata = { name, namespace, uid, resourceVersion, creationTimestamp };
  const specReplicas = getAt(object, paths.spec);
  return {
    kind: 'Scale',
    apiVersion: 'autoscaling/v1',
    // The cast: these are what every stored object has.
    metadata: metadata as AnyObject['metadata'],
    spec: { ...(typeof specReplicas === 'number' && specReplicas !== 0 && { replicas: specReplicas }) },
    status: { replicas: getAt(object, paths.status) ?? 0, ...(selector !== undefined && selector !== '' && { selector }) },
  };
}

function getAt(object: unknown, path: readonly string[]): unknown {
  let value = object;
  for (const key of path) value = isObject(value) ? value[key] : undefined;
  return value;
}

function setAt(object: JsonObject, path: readonly string[], value: unknown): void {
  let parent = object;
  for (const key of path.slice(0, -1)) {
    if (!isObject(parent[key])) parent[key] = {};
    parent = parent[key] as JsonObject;
  }
  parent[path.at(-1) ?? ''] = value;
}

/** A label selector as one writes it on a command line; a custom resource keeps it as text already. */
function selectorText(selector: unknown): string | undefined {
  if (typeof selector === 'string') return selector;
  if (!isObject(selector)) return undefined;
  const equal = Object.entries(asObject(selector['matchLabels'])).map(([key, value]) => `${key}=${String(value)}`);
  const expressions = asList(selector['matchExpressions'])
    .map(asObject)
    .map(({ key, operator, values }) => {
      const list = asList(values).map(String).sort().join(',');
      switch (operator) {
        case 'In':
          return `${String(key)} in (${list})`;
        case 'NotIn':
          return `${String(key)} notin (${list})`;
        case 'Exists':
          return String(key);
        default:
          return `!${String(key)}`;
      }
    });
  return [...equal, ...expressions].sort().join(',');
}
