import type { ServerResponse } from 'node:http';

import { stringify } from 'yaml';

import type { AnyObject } from '../../../api/kubernetes.ts';
import { omit } from '../json.ts';
import type { ServedResource } from '../registry.ts';
import { servedJson, toServed } from '../rest/convert.ts';
import type { Listed } from '../rest/list.ts';
import { toTable } from '../schema/index.ts';
import type { StatusError } from '../status.ts';
import { notAcceptable } from '../status.ts';
import type { StoredObject } from '../storage/bucket.ts';
import type { Representation } from './negotiate.ts';

/** What an answer is written with. */
export interface Reply {
  readonly response: ServerResponse;
  readonly representation: Representation;
  readonly query: URLSearchParams;
  readonly warnings: readonly string[];
  /** Milliseconds since 1970, for the ages in tables. */
  readonly now: number;
}

export function sendText(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' });
  response.end(text);
}

/** JSON that is encoded already. */
export function sendJsonText(response: ServerResponse, status: number, json: string, warnings: readonly string[] = []): void {
  const headers: Record<string, string | string[]> = {
    'content-type': 'application/json',
    'content-length': String(Buffer.byteLength(json)),
  };
  if (warnings.length > 0) headers['warning'] = warnings.map((text) => `299 - ${JSON.stringify(text)}`);
  response.writeHead(status, headers);
  response.end(json);
}

export function sendError(response: ServerResponse, error: StatusError): void {
  const headers = error.details?.retryAfterSeconds === undefined ? {} : { 'retry-after': String(error.details.retryAfterSeconds) };
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  sendJsonText(response, error.code, JSON.stringify(error.body()));
}

/** Any document in the encoding that the client accepts; not for tables and partial objects. */
export function sendDocument({ response, representation, warnings }: Reply, status: number, document: unknown): void {
  if (representation.encoding === 'yaml') {
    response.writeHead(status, { 'content-type': 'application/yaml' });
    response.end(stringify(document, { sortMapEntries: true, lineWidth: 0, indentSeq: false, version: '1.1' }));
    return;
  }
  sendJsonText(response, status, JSON.stringify(document), warnings);
}

/** One object of a resource, as the client wants to see it. */
export function sendObject(reply: Reply, status: number, resource: ServedResource, object: AnyObject): void {
  const { as, encoding } = reply.representation;
  if (as === 'Table') {
    sendDocument(reply, status, table(resource, [object], reply, { resourceVersion: object.metadata.resourceVersion }));
  } else if (as === 'PartialObjectMetadata') {
    sendDocument(reply, status, partial(object));
  } else if (as !== undefined) {
    throw notAcceptable(['application/json', 'application/yaml', 'application/vnd.kubernetes.protobuf']);
  } else if (encoding === 'yaml') {
    sendDocument(reply, status, object);
  } else {
    sendJsonText(reply.response, status, JSON.stringify(object), reply.warnings);
  }
}

/** A stored object; its JSON is there already. */
export function sendStored(reply: Reply, resource: ServedResource, stored: StoredObject): void {
  if (reply.representation.as === undefined && reply.representation.encoding === 'json') {
    sendJsonText(reply.response, 200, servedJson(resource, stored), reply.warnings);
    return;
  }
  sendObject(reply, 200, resource, toServed(resource, stored.object));
}

/** A list of stored objects. */
export function sendList(reply: Reply, resource: ServedResource, { items, metadata }: Listed): void {
  const { as, encoding } = reply.representation;
  const { info, apiVersion } = resource;
  if (as === 'Table') {
    const objects = items.map((stored) => toServed(resource, stored.object));
    sendDocument(reply, 200, table(resource, objects, reply, metadata));
  } else if (as === 'PartialObjectMetadataList') {
    const partials = items.map(({ object }) => partial(object));
    sendDocument(reply, 200, { kind: 'PartialObjectMetadataList', apiVersion: 'meta.k8s.io/v1', metadata, items: partials });
  } else if (as !== undefined) {
    throw notAcceptable(['application/json', 'application/yaml', 'application/vnd.kubernetes.protobuf']);
  } else if (encoding === 'yaml') {
    const objects = items.map((stored) => listItem(resource, toServed(resource, stored.object)));
    sendDocument(reply, 200, { kind: info.listKind, apiVersion, metadata, items: objects });
  } else {
    // Items of built-in kinds do not say what they are; custom ones do.
    const prefix = JSON.stringify({ kind: info.kind, apiVersion }).slice(0, -1);
    const texts = items.map((stored) => {
      const json = servedJson(resource, stored);
      if (resource.crd !== undefined) return json;
      return json.startsWith(`${prefix},`)
        ? `{${json.slice(prefix.length + 1)}`
        : JSON.stringify(listItem(resource, JSON.parse(json) as AnyObject));
    });
    const head = JSON.stringify({ kind: info.listKind, apiVersion, metadata }).slice(0, -1);
    sendJsonText(reply.response, 200, `${head},"items":[${texts.join(',')}]}`, reply.warnings);
  }
}

function listItem(resource: ServedResource, object: AnyObject): unknown {
  if (resource.crd !== undefined) return object;
  return omit(object, 'kind', 'apiVersion');
}

/** A table of objects; the query's `includeObject` says what each row carries. */
export function table(
  resource: ServedResource,
  objects: readonly AnyObject[],
  { query, now }: Pick<Reply, 'query' | 'now'>,
  listMetadata: Record<string, unknown>,
  noHeaders = false,
): unknown {
  const wanted = query.get('includeObject') ?? 'Metadata';
  const includeObject = wanted === 'Object' || wanted === 'None' ? wanted : 'Metadata';
  return toTable(resource.info, objects, {
    includeObject,
    now,
    listMetadata,
    noHeaders,
    ...(resource.crd !== undefined && { crd: resource.crd }),
  });
}

/** An object's metadata alone. */
export function partial(object: AnyObject): unknown {
  return { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata: object.metadata };
}
