import type { IncomingMessage, ServerResponse } from 'node:http';

import type { AnyObject } from '../../../api/kubernetes.ts';
import { authorizeRequest } from '../auth/authorize.ts';
import type { Rbac } from '../auth/rbac.ts';
import type { UserInfo } from '../auth/user.ts';
import { asObject } from '../json.ts';
import type { ServedResource } from '../registry.ts';
import { isTrue, type RequestInfo, type ResourceRequest } from '../request-info.ts';
import type { Cluster, WriteOptions } from '../rest/cluster.ts';
import { create } from '../rest/create.ts';
import { remove, type DeleteOptions } from '../rest/delete.ts';
import { list } from '../rest/list.ts';
import { patch, patchType } from '../rest/patch.ts';
import { strategyFor } from '../rest/strategy.ts';
import { findStored, update } from '../rest/update.ts';
import { invalid, methodNotAllowed } from '../status.ts';
import { negotiate } from './negotiate.ts';
import { contentType, decodeBytes, decodePatch, readBytes } from './read-body.ts';
import { sendDocument, sendList, sendObject, sendStored, type Reply } from './respond.ts';
import { serveWatch } from './watch.ts';

/** One request for a resource, authorized. */
export interface ResourceCall {
  readonly cluster: Cluster;
  readonly rbac: Rbac;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly url: URL;
  readonly info: RequestInfo;
  readonly target: ResourceRequest;
  readonly resource: ServedResource;
  readonly user: UserInfo;
}

/** A reply whose warnings are still collected. */
interface WriteReply extends Reply {
  readonly warnings: string[];
}

/** Serves a resource itself (not its subresources) and `status`. */
export async function handleResource(call: ResourceCall): Promise<void> {
  const { cluster, info, target, resource } = call;
  const { name, namespace } = target;
  const reply = replyTo(call);
  const allowed = target.subresource === undefined ? resource.info.verbs : ['get', 'patch', 'update'];
  if (!(allowed as readonly string[]).includes(info.verb)) throw methodNotAllowed();
  switch (info.verb) {
    case 'get': {
      if (isTrue(reply.query.get('watch'))) watch(call, reply);
      else sendStored(reply, resource, findStored(cluster, resource, namespace, name ?? ''));
      return;
    }
    case 'list':
      sendList(reply, resource, list(cluster.store, resource, namespace, reply.query));
      return;
    case 'watch':
      watch(call, reply);
      return;
    case 'create':
      await handleCreate(call, reply);
      return;
    case 'update': {
      const body = decodeBytes(await readBytes(call.request), contentType(call.request), resource.info.kind);
      const options = writeOptions(call, reply, 'UpdateOptions');
      const subresource = target.subresource ?? '';
      sendObject(reply, 200, resource, update(cluster, { resource, namespace, name: name ?? '', subresource, body, options }));
      return;
    }
    case 'patch':
      await handlePatch(call, reply);
      return;
    case 'delete': {
      const options = await deleteOptions(call, reply);
      const { object, gone } = remove(cluster, { resource, namespace, name: name ?? '', options });
      if (!gone || strategyFor(resource).returnsDeleted) sendObject(reply, 200, resource, object);
      else sendDocument(reply, 200, deletedStatus(resource, object));
      return;
    }
    case 'deletecollection': {
      const options = await deleteOptions(call, reply);
      const listed = list(cluster.store, resource, namespace, reply.query);
      for (const { object } of listed.items) {
        remove(cluster, { resource, namespace: object.metadata.namespace, name: object.metadata.name, options });
      }
      sendList(reply, resource, listed);
      return;
    }
    default:
      throw methodNotAllowed();
  }
}

function watch({ cluster, resource, target }: ResourceCall, reply: Reply): void {
  serveWatch({
    store: cluster.store,
    resource,
    namespace: target.namespace,
    name: target.name,
    bookmarkEvery: cluster.bookmarkEvery,
    reply,
  });
}

async function handleCreate(call: ResourceCall, reply: WriteReply): Promise<void> {
  const { cluster, resource, target } = call;
  if (target.name !== undefined) throw methodNotAllowed();
  const body = decodeBytes(await readBytes(call.request), contentType(call.request), resource.info.kind);
  const options = writeOptions(call, reply, 'CreateOptions');
  sendObject(reply, 201, resource, create(cluster, { resource, namespace: target.namespace, body, options }));
}

async function handlePatch(call: ResourceCall, reply: WriteReply): Promise<void> {
  const { cluster, resource, target, request, rbac, user, info } = call;
  const type = patchType(contentType(request), resource);
  const body = decodePatch(await readBytes(request), contentType(request));
  const { object, created } = patch(cluster, {
    resource,
    namespace: target.namespace,
    name: target.name ?? '',
    subresource: target.subresource ?? '',
    type,
    patch: body,
    force: isTrue(reply.query.get('force')),
    namedManager: (reply.query.get('fieldManager') ?? '') !== '',
    mayCreate: () => authorizeRequest(rbac, user, { ...info, verb: 'create' }, undefined),
    options: writeOptions(call, reply, 'PatchOptions'),
  });
  sendObject(reply, created ? 201 : 200, resource, object);
}

export function replyTo({ request, response, url, cluster }: Pick<ResourceCall, 'request' | 'response' | 'url' | 'cluster'>): WriteReply {
  return { response, representation: negotiate(request.headers.accept), query: url.searchParams, warnings: [], now: cluster.now() };
}

/** The query of a write; `kind` is what it is called in errors. */
export function writeOptions(
  { request, user }: Pick<ResourceCall, 'request' | 'user'>,
  { query, warnings }: { readonly query: URLSearchParams; readonly warnings: string[] },
  kind: 'CreateOptions' | 'UpdateOptions' | 'PatchOptions',
): WriteOptions {
  const validation = query.get('fieldValidation') ?? '';
  if (!['', 'Strict', 'Warn', 'Ignore'].includes(validation)) {
    const message = `Unsupported value: ${JSON.stringify(validation)}: supported values: "Ignore", "Strict", "Warn"`;
    throw invalid({ kind, group: 'meta.k8s.io' }, '', [{ reason: 'FieldValueNotSupported', field: 'fieldValidation', message }]);
  }
  return {
    user,
    fieldManager: fieldManager(query.get('fieldManager'), request.headers['user-agent']),
    dryRun: dryRun(query.getAll('dryRun'), kind),
    fieldValidation: validation === '' ? 'Warn' : (validation as 'Strict' | 'Warn' | 'Ignore'),
    warnings,
  };
}

/** The program that writes is who owns the fields, unless it says otherwise. */
function fieldManager(given: string | null, userAgent: string | undefined): string {
  if (given !== null && given !== '') return given;
  const program = (userAgent ?? '').split('/')[0]?.slice(0, 128) ?? '';
  return program === '' ? 'unknown' : program;
}

function dryRun(values: readonly string[], kind: string): boolean {
  const given = values.filter((value) => value !== '');
  if (given.every((value) => value === 'All')) return given.length > 0;
  const message = `Unsupported value: ${JSON.stringify(given)}: supported values: "All"`;
  throw invalid({ kind, group: 'meta.k8s.io' }, '', [{ reason: 'FieldValueNotSupported', field: 'dryRun', message }]);
}

/** From the body and, where it says nothing, from the query. */
async function deleteOptions({ request }: ResourceCall, { query }: Reply): Promise<DeleteOptions> {
  const bytes = await readBytes(request);
  const body = bytes.length === 0 ? {} : asObject(decodeBytes(bytes, contentType(request), 'DeleteOptions'));
  const grace =
    body['gracePeriodSeconds'] ?? (query.get('gracePeriodSeconds') === null ? undefined : Number(query.get('gracePeriodSeconds')));
  const orphan = body['orphanDependents'];
  const policy =
    body['propagationPolicy'] ??
    query.get('propagationPolicy') ??
    (orphan === undefined ? undefined : orphan === true ? 'Orphan' : 'Background');
  const preconditions = asObject(body['preconditions']);
  const { uid, resourceVersion } = preconditions;
  const bodyDryRun = Array.isArray(body['dryRun']) ? (body['dryRun'] as unknown[]).map(String) : [];
  return {
    ...(typeof grace === 'number' && { gracePeriodSeconds: grace }),
    ...(typeof policy === 'string' && { propagationPolicy: policy }),
    preconditions: { ...(typeof uid === 'string' && { uid }), ...(typeof resourceVersion === 'string' && { resourceVersion }) },
    dryRun: dryRun([...query.getAll('dryRun'), ...bodyDryRun], 'DeleteOptions'),
  };
}

function deletedStatus({ info }: ServedResource, { metadata }: AnyObject): unknown {
  const { name, uid } = metadata;
  return {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Success',
    details: { name, ...(info.group !== '' && { group: info.group }), kind: info.plural, uid },
  };
}
