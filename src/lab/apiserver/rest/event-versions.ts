import type { AnyObject } from '../../../api/kubernetes.ts';

/** Fields of an Event that have another name in events.k8s.io/v1 than in v1. */
const renamed: readonly (readonly [core: string, events: string])[] = [
  ['involvedObject', 'regarding'],
  ['message', 'note'],
  ['reportingComponent', 'reportingController'],
  ['source', 'deprecatedSource'],
  ['firstTimestamp', 'deprecatedFirstTimestamp'],
  ['lastTimestamp', 'deprecatedLastTimestamp'],
  ['count', 'deprecatedCount'],
];

export function eventFromCore(event: AnyObject): AnyObject {
  return rename(event, 'events.k8s.io/v1', renamed);
}

export function eventToCore(event: AnyObject): AnyObject {
  const back = renamed.map(([core, events]) => [events, core] as const);
  return rename(event, 'v1', back);
}

function rename(event: AnyObject, apiVersion: string, names: readonly (readonly [string, string])[]): AnyObject {
  const entries = Object.entries(event).map(([key, value]) => [names.find(([from]) => from === key)?.[1] ?? key, value] as const);
  // The cast: every field of the event is there, under one name or the other.
  return { ...Object.fromEntries(entries), apiVersion } as AnyObject;
}
