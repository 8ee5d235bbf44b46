import { isObject, type JsonObject } from '../json.ts';
import type { RecordedAnswer, RecordedCase } from './recorded-calls.ts';

/** Fields whose values are never the same twice. */
const volatile = new Set([
  ...['uid', 'resourceVersion', 'creationTimestamp', 'deletionTimestamp', 'time', 'continue', 'token', 'expirationTimestamp'],
  ...['clusterIP', 'clusterIPs', 'nodePort', 'healthCheckNodePort', 'lastTransitionTime', 'firstTimestamp', 'issuedAt', 'hash'],
  // Where the recorded server stood.
  ...['serverRelativeURL', 'storageVersionHash', 'serverAddress'],
]);

/** What differs between two answers to one call, after taking out what is volatile; empty when they are alike. */
export function differences(recorded: RecordedCase, real: RecordedAnswer, ours: RecordedAnswer): string[] {
  const [a, b] = isDiscovery(recorded) ? [servedBoth(real.body, ours.body), ours.body] : [real.body, ours.body];
  return [
    ...(real.status === ours.status ? [] : [`status ${real.status} / ${ours.status}`]),
    ...(JSON.stringify(real.warnings) === JSON.stringify(ours.warnings)
      ? []
      : [`warnings ${real.warnings.join()} / ${ours.warnings.join()}`]),
    ...diff(normalize(a), normalize(b), ''),
  ];
}

function isDiscovery({ method, path }: RecordedCase): boolean {
  return method === 'GET' && /^\/(?:api|apis|apis\/[^/]+\/[^/]+|api\/v1)$/.test(path);
}

/** Discovery lists every kind that a server has; the lab has fewer. What it lists must be as the real one lists it. */
function servedBoth(real: unknown, ours: unknown): unknown {
  if (!isObject(real) || !isObject(ours)) return real;
  const keep = (
    list: unknown,
    other: unknown,
    nameOf: (item: JsonObject) => unknown,
    inside?: (a: JsonObject, b: JsonObject) => JsonObject,
  ): unknown => {
    if (!Array.isArray(list) || !Array.isArray(other)) return list;
    return list.filter(isObject).flatMap((item) => {
      const match = other.filter(isObject).find((candidate) => nameOf(candidate) === nameOf(item));
      return match === undefined ? [] : [inside === undefined ? item : inside(item, match)];
    });
  };
  const byName = (item: JsonObject): unknown => item['name'];
  const subresources = (a: JsonObject, b: JsonObject): JsonObject =>
    a['subresources'] === undefined ? a : { ...a, subresources: keep(a['subresources'], b['subresources'], (sub) => sub['subresource']) };
  const versions = (a: JsonObject, b: JsonObject): JsonObject => ({
    ...a,
    versions: keep(
      a['versions'],
      b['versions'],
      (version) => version['version'],
      (x, y) => ({
        ...x,
        resources: keep(x['resources'], y['resources'], (resource) => resource['resource'], subresources),
      }),
    ),
  });
  if (Array.isArray(real['resources'])) return { ...real, resources: keep(real['resources'], ours['resources'], byName) };
  if (!Array.isArray(real['items'])) return real;
  return {
    ...real,
    items: keep(real['items'], ours['items'], (item) => (isObject(item['metadata']) ? item['metadata']['name'] : undefined), versions),
  };
}

function normalize(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(normalize);
  if (typeof value === 'string') return normalizeText(value);
  if (!isObject(value)) return value;
  const result: JsonObject = {};
  for (const key of Object.keys(withSortedCauses(value)).sort()) {
    const field = withSortedCauses(value)[key];
    result[key] = volatile.has(key) && !isObject(field) ? '<volatile>' : normalize(field);
  }
  return result;
}

/** The order of several causes is not the API's word; and the message repeats them. */
function withSortedCauses(value: JsonObject): JsonObject {
  const details = isObject(value['details']) ? value['details'] : undefined;
  let result = value;
  if (Array.isArray(value['causes']) && value['causes'].length > 1) {
    const causes = (value['causes'] as unknown[]).toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
    result = { ...result, causes };
  }
  if (Array.isArray(details?.['causes']) && details['causes'].length > 1) result = { ...result, message: '<several causes>' };
  return result;
}

function normalizeText(text: string): string {
  return text
    .replaceAll(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, '<uid>')
    .replaceAll(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g, '<time>')
    .replaceAll(/(gen-|kube-api-access-)[a-z0-9]{5}\b/g, '$1<suffix>')
    .replaceAll(/^\d+(s|ms)$/g, '<age>')
    .replaceAll(/(resource version: \d+, current: |ResourceVersion in (?:the precondition|record) \()\d+/g, '$1<n>')
    .replaceAll(/(resourceVersion: ")\d+/g, '$1<n>')
    .replaceAll(/\b(\d+):3\d{4}\//g, '$1:<nodePort>/')
    .replaceAll(/\b10\.\d+\.\d+\.\d+\b/g, '<ip>');
}

function diff(real: unknown, ours: unknown, at: string): string[] {
  const short = (value: unknown): string => ((JSON.stringify(value) as string | undefined) ?? 'nothing').slice(0, 160);
  if (isObject(real) && isObject(ours)) {
    return [...new Set([...Object.keys(real), ...Object.keys(ours)])].sort().flatMap((key) => {
      if (!(key in ours)) return [`${at}.${key}: only real: ${short(real[key])}`];
      if (!(key in real)) return [`${at}.${key}: only ours: ${short(ours[key])}`];
      return diff(real[key], ours[key], `${at}.${key}`);
    });
  }
  if (Array.isArray(real) && Array.isArray(ours)) {
    if (real.length !== ours.length) return [`${at}: ${real.length} / ${ours.length} items: ${short(real)} / ${short(ours)}`];
    return real.flatMap((item, index) => diff(item, ours[index], `${at}[${index}]`));
  }
  return JSON.stringify(real) === JSON.stringify(ours) ? [] : [`${at}: ${short(real)} / ${short(ours)}`];
}
