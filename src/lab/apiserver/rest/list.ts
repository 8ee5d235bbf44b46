import type { AnyObject } from '../../../api/kubernetes.ts';
import { isObject } from '../json.ts';
import type { ServedResource } from '../registry.ts';
import type { FieldErrorReason } from '../schema/index.ts';
import { parseFieldSelector } from '../selectors/field-selector.ts';
import { parseLabelSelector } from '../selectors/label-selector.ts';
import { badRequest, expired, invalid, StatusError } from '../status.ts';
import type { StoredObject } from '../storage/bucket.ts';
import type { Store } from '../storage/store.ts';

/** What of a collection is asked for. */
export interface Selection {
  matches(object: AnyObject): boolean;
  /** Whether everything of the namespace matches. */
  readonly everything: boolean;
}

/** Reads labelSelector and fieldSelector; throws the API's 400. */
export function selection(query: URLSearchParams, resource: ServedResource, namespace: string | undefined, name?: string): Selection {
  const labelText = query.get('labelSelector') ?? '';
  const fieldText = query.get('fieldSelector') ?? '';
  const labels = labelText === '' ? undefined : parseLabelSelector(labelText);
  const fields = fieldText === '' ? undefined : parseFieldSelector(fieldText, resource.info);
  return {
    everything: labels === undefined && fields === undefined && name === undefined,
    matches: (object) =>
      (namespace === undefined || object.metadata.namespace === namespace) &&
      (name === undefined || object.metadata.name === name) &&
      (labels === undefined || labels(object.metadata.labels ?? {})) &&
      (fields === undefined || fields.matches(object)),
  };
}

export interface Listed {
  readonly items: readonly StoredObject[];
  readonly metadata: Record<string, unknown>;
}

/** One page of a list, as it is now or as it was at the version that the client asks for. */
export function list(store: Store, resource: ServedResource, namespace: string | undefined, query: URLSearchParams): Listed {
  const selected = selection(query, resource, namespace);
  const token = readContinue(query.get('continue') ?? '');
  const version = token?.version ?? exactVersion(store, query);
  const bucket = store.bucket(resource.bucket);
  const all = version === undefined ? bucket.all() : bucket.at(version);
  if (all === undefined) {
    throw expired(
      token === undefined
        ? `The resourceVersion for the provided list is too old.`
        : `The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter.`,
    );
  }
  const limit = positiveInteger(query.get('limit'));
  const items: StoredObject[] = [];
  let remaining = 0;
  let next: string | undefined;
  for (const stored of all) {
    if (token !== undefined && continueKey(stored, namespace) <= token.start) continue;
    if (!selected.matches(stored.object)) continue;
    if (limit === undefined || items.length < limit) {
      items.push(stored);
      continue;
    }
    remaining++;
    const last = items.at(-1);
    next ??= last === undefined ? undefined : continueKey(last, namespace);
  }
  const at = version ?? store.version;
  return {
    items,
    metadata: {
      resourceVersion: String(at),
      ...(next !== undefined && { continue: writeContinue(at, next) }),
      // Kubernetes counts only where it need not look at each object.
      ...(next !== undefined && selected.everything && { remainingItemCount: remaining }),
    },
  };
}

/** `resourceVersion` and `resourceVersionMatch` of a list: undefined means now, which is as new as anything asked for. */
function exactVersion(store: Store, query: URLSearchParams): number | undefined {
  const text = query.get('resourceVersion') ?? '';
  const match = query.get('resourceVersionMatch') ?? '';
  checkMatch(text, match);
  const version = parseVersion(text);
  if (version === undefined || version === 0) return undefined;
  if (version > store.version) throw tooLargeVersion(version, store.version);
  return match === 'Exact' ? version : undefined;
}

function checkMatch(version: string, match: string): void {
  if (match === '') return;
  const problem = (reason: FieldErrorReason, message: string): Error =>
    invalid({ kind: 'ListOptions', group: 'meta.k8s.io' }, '', [{ reason, field: 'resourceVersionMatch', message }]);
  if (version === '') {
    throw problem('FieldValueForbidden', 'Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided');
  }
  if (match !== 'Exact' && match !== 'NotOlderThan') {
    const message = `Unsupported value: ${JSON.stringify(match)}: supported values: "Exact", "NotOlderThan", ""`;
    throw problem('FieldValueNotSupported', message);
  }
  if (match === 'Exact' && version === '0') {
    throw problem('FieldValueForbidden', 'Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"');
  }
}

/** A version as clients send it; undefined for none. Throws what Kubernetes answers to one that is no number. */
export function parseVersion(text: string): number | undefined {
  if (text === '') return undefined;
  if (/^\d{1,16}$/.test(text)) return Number(text);
  const message = `resourceVersion: Invalid value: ${JSON.stringify(text)}: strconv.ParseUint: parsing ${JSON.stringify(text)}: invalid syntax`;
  throw new StatusError({ code: 500, message });
}

function tooLargeVersion(wanted: number, current: number): StatusError {
  return new StatusError({
    code: 504,
    reason: 'Timeout',
    message: `Timeout: Too large resource version: ${String(wanted)}, current: ${String(current)}`,
    details: { causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }], retryAfterSeconds: 1 },
  });
}

function positiveInteger(text: string | null): number | undefined {
  const value = Number(text ?? '');
  return Number.isInteger(value) && value > 0 ? value : undefined;
}

/** What a page's continuation starts after: the name, with the namespace in a list of all. */
function continueKey({ object }: StoredObject, namespace: string | undefined): string {
  const { name } = object.metadata;
  const prefix = namespace !== undefined || object.metadata.namespace === undefined ? '' : `${object.metadata.namespace}/`;
  return `${prefix}${name}\u0000`;
}

function writeContinue(version: number, start: string): string {
  return Buffer.from(JSON.stringify({ v: 'meta.k8s.io/v1', rv: version, start })).toString('base64url');
}

function readContinue(token: string): { version: number; start: string } | undefined {
  if (token === '') return undefined;
  const text = Buffer.from(token, 'base64url').toString('latin1');
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw badRequest(`invalid continue token: continue key is not valid: ${goSyntaxError(text)}`);
  }
  if (!isObject(parsed) || parsed['v'] !== 'meta.k8s.io/v1' || typeof parsed['rv'] !== 'number' || typeof parsed['start'] !== 'string') {
    throw badRequest('invalid continue token: continue key is not valid: server does not recognize this encoded version');
  }
  return { version: parsed['rv'], start: Buffer.from(parsed['start'], 'latin1').toString('utf8') };
}

/** In the words of Go's JSON decoder, for the cases that clients meet: nothing there, or something that is no JSON. */
export function goSyntaxError(text: string): string {
  const first = text.trimStart()[0];
  if (first === undefined || '{["0123456789-tfn'.includes(first)) return 'unexpected end of JSON input';
  return `invalid character '${first}' looking for beginning of value`;
}
