import type { AnyObject } from '../../../api/kubernetes.ts';
import type { ServedResource } from '../registry.ts';
import type { StoredObject } from '../storage/bucket.ts';
import { eventFromCore, eventToCore } from './event-versions.ts';

/** A stored object in the version that is asked for. Versions of a CustomResourceDefinition differ in their name alone (conversion `None`). */
export function toServed(resource: ServedResource, stored: AnyObject): AnyObject {
  if (resource.info.storedAs !== undefined) return eventFromCore(stored);
  return stored.apiVersion === resource.apiVersion ? stored : { ...stored, apiVersion: resource.apiVersion };
}

/** An object of a served version as it is stored. */
export function toStored(resource: ServedResource, object: AnyObject): AnyObject {
  if (resource.info.storedAs !== undefined) return eventToCore(object);
  return object.apiVersion === resource.storageApiVersion ? object : { ...object, apiVersion: resource.storageApiVersion };
}

/** The JSON of a stored object in the version that is asked for; mostly the text that is there already. */
export function servedJson(resource: ServedResource, stored: StoredObject): string {
  const object = toServed(resource, stored.object);
  return object === stored.object ? stored.json : JSON.stringify(object);
}
