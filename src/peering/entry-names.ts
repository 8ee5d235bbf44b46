import { createHash } from 'node:crypto';

/** RFC 1123 subdomain: the longest name of an object. */
const maxNameLength = 253;

/** First 12 hex digits of the SHA-256 of `<namespace>/<service>`: in the names of flat entries, and what selects a service's entries. */
export function serviceHash(namespace: string, service: string): string {
  return sha256(`${namespace}/${service}`).slice(0, 12);
}

/** The ServiceEntry of a global service. */
export function serviceEntryName(namespace: string, service: string): string {
  return `autogen.${namespace}.${service}`;
}

/** The WorkloadEntry that stands for a peer's network gateway. */
export function gatewayEntryName(cluster: string, namespace: string, service: string): string {
  return guarded(`autogen.${cluster}.${namespace}.${service}`, '');
}

/**
 * The WorkloadEntry of one pod of a peer, for one global service. Unique for (cluster, namespace, pod, service); a pod whose name
 * would make it too long is cut and followed by a hash of all of it.
 */
export function flatEntryName(cluster: string, namespace: string, pod: string, service: string): string {
  return guarded(`autogenflat.${cluster}.${namespace}.${pod}`, `.${serviceHash(namespace, service)}`);
}

/**
 * The name of a service's port in entries that an unmodified istiod reads. It follows from the service and the number alone, so that a port
 * that is renamed changes no entry, and no entry has a moment in which its ports are called otherwise than the ServiceEntry's. It is no
 * other service's, whose ServiceEntry may select the same entry. And it is longer than a container's port can be called (15): istiod would take a
 * pod's port of that name instead of the target port.
 */
export function entryPortName(namespace: string, service: string, port: number): string {
  return `port-${port}-${serviceHash(namespace, service)}`;
}

function guarded(head: string, tail: string): string {
  if (head.length + tail.length <= maxNameLength) return head + tail;
  const hash = `-${sha256(head).slice(0, 16)}`;
  // No part of a name may end in a dot or a dash.
  const cut = head.slice(0, maxNameLength - tail.length - hash.length).replace(/[.-]+$/, '');
  return `${cut}${hash}${tail}`;
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** A name of a Service, a Namespace or a port: RFC 1123 label. */
export function isLabelName(text: string): boolean {
  return /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(text);
}

/** A name of a pod or an account: RFC 1123 subdomain. */
export function isSubdomain(text: string): boolean {
  return text.length <= maxNameLength && /^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/.test(text);
}

export function isLabelValue(text: string): boolean {
  return /^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$/.test(text);
}

/**
 * A cluster id goes into names of objects and into label values, so it must fit both. It has no dots: they part an entry's name, and with a
 * dotted id a pod of one cluster could have the entry of another's.
 */
export function isClusterId(text: string): boolean {
  return isLabelName(text);
}
