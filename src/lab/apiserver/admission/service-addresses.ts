import { randomInt } from 'node:crypto';

import type { AnyObject } from '../../../api/kubernetes.ts';
import { asList, asObject, asString, omit, type JsonObject } from '../json.ts';
import { internalError, invalid } from '../status.ts';
import type { Store } from '../storage/store.ts';

const service = { kind: 'Service', group: '' };
const nodePorts = { first: 30_000, count: 2768 };

/**
 * Gives Services their ClusterIP and, for types that have them, node ports. What is taken is read from the Services
 * themselves, so that nothing can leak.
 */
export class ServiceAddresses {
  readonly #store: Store;
  readonly #first: number;
  readonly #size: number;

  /** `range`: an IPv4 prefix such as 10.255.10.0/24. Its first address is the API server's, kept for the Service `kubernetes`. */
  constructor(store: Store, range: string) {
    const [address = '', bits = ''] = range.split('/');
    this.#store = store;
    this.#size = 2 ** (32 - Number(bits));
    this.#first = Math.floor(toNumber(address) / this.#size) * this.#size;
  }

  /** The address with this number in the range. */
  address(index: number): string {
    return toAddress(this.#first + index);
  }

  /** Fills in spec.clusterIP, clusterIPs, ipFamilies and node ports of a new or changed Service; throws the API's 422. */
  allocate(object: AnyObject, old: AnyObject | undefined): void {
    const spec = { ...asObject(object['spec']) };
    object['spec'] = spec;
    const type = asString(spec['type']);
    if (type === 'ExternalName') {
      for (const field of ['clusterIP', 'clusterIPs', 'ipFamilies', 'ipFamilyPolicy']) Reflect.deleteProperty(spec, field);
      return;
    }
    this.#clusterIp(object, spec, asObject(old?.['spec']));
    if (type === 'NodePort' || type === 'LoadBalancer') this.#nodePorts(object, spec, asObject(old?.['spec']));
    else if (old !== undefined) withoutNodePorts(spec, asObject(old['spec']));
  }

  #clusterIp(object: AnyObject, spec: JsonObject, old: JsonObject): void {
    const before = asString(old['clusterIP']) ?? '';
    const given = asString(spec['clusterIP']) ?? '';
    const listed = asString(asList(spec['clusterIPs'])[0]);
    // A client that knows clusterIP alone, and one that does not speak of addresses at all.
    let ip = given !== '' ? given : (listed ?? before);
    if (given !== '' && before !== '' && given !== before && listed === before) spec['clusterIPs'] = [given];
    if (ip === '') ip = this.#free(object);
    else if (ip !== 'None' && ip !== before && before === '') this.#checkFree(object, ip);
    spec['clusterIP'] = ip;
    if (asList(spec['clusterIPs']).length === 0) spec['clusterIPs'] = [ip];
    spec['ipFamilies'] ??= old['ipFamilies'] ?? ['IPv4'];
    spec['ipFamilyPolicy'] ??= old['ipFamilyPolicy'] ?? 'SingleStack';
  }

  #free(object: AnyObject): string {
    const taken = this.#taken(object);
    // Random, so that an address freed just now is not at once another Service's; the low ones are left for fixed wishes.
    const low = Math.min(256, Math.max(16, this.#size / 16));
    for (const [from, count] of [[low, this.#size - 1 - low] as const, [2, low - 2] as const]) {
      const start = randomInt(count);
      for (let i = 0; i < count; i++) {
        const ip = this.address(from + ((start + i) % count));
        if (!taken.has(ip)) return ip;
      }
    }
    throw internalError('failed to allocate a serviceIP: range is full');
  }

  #checkFree(object: AnyObject, ip: string): void {
    const problem = (why: string): Error =>
      invalid(service, object.metadata.name, [
        { reason: 'FieldValueInvalid', field: 'spec.clusterIPs', message: `Invalid value: [${JSON.stringify(ip)}]: ${why}` },
      ]);
    const index = toNumber(ip) - this.#first;
    if (!(index > 0 && index < this.#size - 1)) {
      throw problem(`failed to allocate IP ${ip}: the provided network does not match the current range`);
    }
    if (this.#taken(object).has(ip)) throw problem(`failed to allocate IP ${ip}: provided IP is already allocated`);
  }

  #taken(except: AnyObject): Set<string> {
    const taken = new Set<string>();
    for (const { object } of this.#store.bucket('services.').all()) {
      if (object.metadata.uid === except.metadata.uid) continue;
      const ip = asString(asObject(object['spec'])['clusterIP']);
      if (ip !== undefined) taken.add(ip);
    }
    return taken;
  }

  #nodePorts(object: AnyObject, spec: JsonObject, old: JsonObject): void {
    if (spec['type'] === 'LoadBalancer' && spec['allocateLoadBalancerNodePorts'] === false) return;
    const before = asList(old['ports']).map(asObject);
    const taken = new Set<unknown>();
    for (const { object: other } of this.#store.bucket('services.').all()) {
      if (other.metadata.uid === object.metadata.uid) continue;
      for (const port of asList(asObject(other['spec'])['ports'])) taken.add(asObject(port)['nodePort']);
    }
    spec['ports'] = asList(spec['ports']).map((item, index) => {
      const port = asObject(item);
      let number = port['nodePort'] ?? 0;
      if (number === 0) number = before.find((b) => b['port'] === port['port'] && b['protocol'] === port['protocol'])?.['nodePort'] ?? 0;
      else if (taken.has(number)) throw portTaken(object, index, number);
      if (number === 0) number = freePort(taken);
      taken.add(number);
      return { ...port, nodePort: number };
    });
  }
}

/** A Service that has no node ports any more gives back what it had. */
function withoutNodePorts(spec: JsonObject, old: JsonObject): void {
  if (old['type'] !== 'NodePort' && old['type'] !== 'LoadBalancer') return;
  for (const field of ['externalTrafficPolicy', 'allocateLoadBalancerNodePorts', 'healthCheckNodePort'])
    Reflect.deleteProperty(spec, field);
  spec['ports'] = asList(spec['ports']).map((item) => omit(asObject(item), 'nodePort'));
}

function freePort(taken: ReadonlySet<unknown>): number {
  const start = randomInt(nodePorts.count);
  for (let i = 0; i < nodePorts.count; i++) {
    const port = nodePorts.first + ((start + i) % nodePorts.count);
    if (!taken.has(port)) return port;
  }
  throw internalError('failed to allocate a nodePort: range is full');
}

function portTaken(object: AnyObject, index: number, port: unknown): Error {
  return invalid(service, object.metadata.name, [
    {
      reason: 'FieldValueInvalid',
      field: `spec.ports[${String(index)}].nodePort`,
      message: `Invalid value: ${String(port)}: provided port is already allocated`,
    },
  ]);
}

function toNumber(address: string): number {
  const parts = address.split('.').map(Number);
  if (parts.length !== 4 || parts.some((part) => !(part >= 0 && part <= 255))) return Number.NaN;
  return parts.reduce((sum, part) => sum * 256 + part, 0);
}

function toAddress(number: number): string {
  return [24, 16, 8, 0].map((shift) => String(Math.floor(number / 2 ** shift) % 256)).join('.');
}
