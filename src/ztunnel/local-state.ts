import { readFile } from 'node:fs/promises';

import { IsthmusError } from '../core/index.ts';
import { parseAddress } from './state/address.ts';
import type { AddressChange, PolicyChange } from './state/mesh-state.ts';
import type { GatewayAddress, LoadBalancer, NetworkAddress, NetworkRange, Service, Workload } from './state/model.ts';
import type { AddressRange, Match, Policy, StringMatch } from './state/policy.ts';

/** The mesh as a file describes it, in the format of upstream's LOCAL_XDS_PATH and of config_dump. */
export interface LocalState {
  readonly addresses: AddressChange;
  readonly policies: PolicyChange;
}

/** Reads LOCAL_XDS_PATH; ISTHMUS_CONFIG_INVALID names the place that cannot be used. */
export async function readLocalState(path: string): Promise<LocalState> {
  return parseLocalState(await readFile(path, 'utf8'), path);
}

export async function parseLocalState(text: string, origin: string): Promise<LocalState> {
  const { parse } = await import('yaml');
  const root = new Reader(parse(text) ?? {}, origin);
  const workloads = root.list('workloads').map(workload);
  const services = root.list('services').map(service);
  const policies = root.list('policies').map(policy);
  root.done();
  return { addresses: { workloads, services }, policies: { policies } };
}

function workload(reader: Reader): Workload {
  const name = reader.text('name');
  const locality = reader.child('locality');
  const tunnel = reader.child('applicationTunnel');
  const read: Workload = {
    uid: reader.text('uid'),
    name,
    namespace: reader.text('namespace', ''),
    trustDomain: reader.text('trustDomain', 'cluster.local'),
    serviceAccount: reader.text('serviceAccount', 'default'),
    network: reader.text('network', ''),
    addresses: reader.texts('workloadIps').map((text) => reader.address(text)),
    hostname: reader.text('hostname', ''),
    protocol: reader.choice('protocol', ['TCP', 'HBONE'] as const, 'TCP'),
    networkMode: reader.choice('networkMode', ['Standard', 'HostNetwork'] as const, 'Standard'),
    waypoint: gateway(reader.child('waypoint')),
    networkGateway: gateway(reader.child('networkGateway')),
    node: reader.text('node', ''),
    canonicalName: reader.text('canonicalName', ''),
    canonicalRevision: reader.text('canonicalRevision', ''),
    workloadType: reader.choice('workloadType', ['deployment', 'cronjob', 'pod', 'job'] as const, 'deployment'),
    workloadName: reader.text('workloadName', ''),
    nativeTunnel: reader.flag('nativeTunnel'),
    applicationTunnel:
      tunnel === undefined
        ? undefined
        : { protocol: tunnel.choice('protocol', ['NONE', 'PROXY'] as const, 'NONE'), port: tunnel.optionalPort('port') },
    services: new Map(reader.entries('services').map(([key, ports]) => [key, ports.ports()])),
    authorizationPolicies: reader.texts('authorizationPolicies'),
    status: reader.choice('status', ['Healthy', 'Unhealthy'] as const, 'Healthy'),
    clusterId: reader.text('clusterId', 'Kubernetes'),
    locality: {
      region: locality?.text('region', '') ?? '',
      zone: locality?.text('zone', '') ?? '',
      subzone: locality?.text('subzone', '') ?? '',
    },
    capacity: reader.number('capacity', 1),
  };
  locality?.done();
  tunnel?.done();
  reader.done();
  return read;
}

function service(reader: Reader): Service {
  const ports = reader.child('ports');
  const read: Service = {
    name: reader.text('name'),
    namespace: reader.text('namespace'),
    hostname: reader.text('hostname'),
    vips: reader.texts('vips').map((text) => networkAddress(reader, text)),
    cidrVips: reader.list('cidrVips').map(networkRange),
    ports: ports?.ports() ?? new Map<number, number>(),
    subjectAltNames: reader.texts('subjectAltNames'),
    waypoint: gateway(reader.child('waypoint')),
    weightedWaypoints: reader.list('weightedWaypoints').map((entry) => {
      const destination = gateway(entry);
      if (destination === undefined) throw entry.invalid('destination is missing');
      return { destination, weight: entry.number('weight', 0) };
    }),
    loadBalancer: loadBalancer(reader.child('loadBalancer')),
    ipFamilies: reader.optionalChoice('ipFamilies', ['Dual', 'IPv4', 'IPv6'] as const),
    canonical: reader.flag('canonical'),
    visibility: reader.choice('visibility', ['Public', 'Namespace'] as const, 'Public'),
  };
  reader.ignore('endpoints');
  reader.done();
  return read;
}

function loadBalancer(reader: Reader | undefined): LoadBalancer | undefined {
  if (reader === undefined) return undefined;
  const scopes = ['Region', 'Zone', 'Subzone', 'Node', 'Cluster', 'Network'] as const;
  const read: LoadBalancer = {
    routingPreferences: reader.texts('routingPreferences').map((text) => reader.oneOf(text, scopes)),
    mode: reader.choice('mode', ['Standard', 'Strict', 'Failover', 'Passthrough'] as const, 'Standard'),
    healthPolicy: reader.choice('healthPolicy', ['OnlyHealthy', 'AllowAll'] as const, 'OnlyHealthy'),
  };
  reader.done();
  return read;
}

/** `destination` is `network/address` or `namespace/hostname`. */
function gateway(reader: Reader | undefined): GatewayAddress | undefined {
  if (reader === undefined) return undefined;
  const destination = reader.text('destination');
  const hboneMtlsPort = reader.number('hboneMtlsPort', 15008);
  const slash = destination.indexOf('/');
  const [first, second] = [destination.slice(0, slash), destination.slice(slash + 1)];
  if (slash < 0) throw reader.invalid('destination is neither network/address nor namespace/hostname');
  const address = parseAddress(second);
  return address === undefined
    ? { kind: 'hostname', namespace: first, hostname: second, hboneMtlsPort }
    : { kind: 'address', network: first, address, hboneMtlsPort };
}

function networkAddress(reader: Reader, text: string): NetworkAddress {
  const slash = text.indexOf('/');
  if (slash < 0) throw reader.invalid(`"${text}" is not network/address`);
  return { network: text.slice(0, slash), address: reader.address(text.slice(slash + 1)) };
}

function networkRange(reader: Reader): NetworkRange {
  const { address, length } = range(reader, reader.text('cidr'));
  const read = { network: reader.text('network', ''), address, length };
  reader.done();
  return read;
}

function range(reader: Reader, text: string): AddressRange {
  const [base = '', bits] = text.split('/');
  const address = reader.address(base);
  const longest = address.includes(':') ? 128 : 32;
  const length = bits === undefined ? longest : Number(bits);
  if (!(Number.isInteger(length) && length >= 0 && length <= longest)) throw reader.invalid(`"${text}" is not a range of addresses`);
  return { address, length };
}

function policy(reader: Reader): Policy {
  const read: Policy = {
    name: reader.text('name'),
    namespace: reader.text('namespace', ''),
    scope: reader.choice('scope', ['Global', 'Namespace', 'WorkloadSelector'] as const, 'Global'),
    action: reader.choice('action', ['Allow', 'Deny'] as const, 'Allow'),
    rules: reader.list('rules').map((rule) => rule.items().map((clause) => clause.items().map(match))),
    dryRun: reader.flag('dryRun'),
  };
  reader.done();
  return read;
}

function match(reader: Reader): Match {
  const strings = (name: string): StringMatch[] => reader.list(name).map(stringMatch);
  const ranges = (name: string): AddressRange[] => reader.texts(name).map((text) => range(reader, text));
  const accounts = (name: string): Match['serviceAccounts'] =>
    reader.list(name).map((account) => ({ namespace: account.text('namespace'), serviceAccount: account.text('serviceAccount') }));
  const read: Match = {
    namespaces: strings('namespaces'),
    notNamespaces: strings('notNamespaces'),
    principals: strings('principals'),
    notPrincipals: strings('notPrincipals'),
    serviceAccounts: accounts('serviceAccounts'),
    notServiceAccounts: accounts('notServiceAccounts'),
    sourceIps: ranges('sourceIps'),
    notSourceIps: ranges('notSourceIps'),
    destinationIps: ranges('destinationIps'),
    notDestinationIps: ranges('notDestinationIps'),
    destinationPorts: reader.numbers('destinationPorts'),
    notDestinationPorts: reader.numbers('notDestinationPorts'),
  };
  reader.done();
  return read;
}

function stringMatch(reader: Reader): StringMatch {
  for (const kind of ['Exact', 'Prefix', 'Suffix'] as const) if (reader.has(kind)) return { kind, value: reader.text(kind) };
  if (reader.has('Presence')) return { kind: 'Presence' };
  throw reader.invalid('is none of Exact, Prefix, Suffix, Presence');
}

/** Takes a parsed YAML value apart and knows the path for its complaints. Keys that nobody asked for are mistakes. */
class Reader {
  readonly #value: unknown;
  readonly #path: string;
  readonly #used = new Set<string>();

  constructor(value: unknown, path: string) {
    this.#value = value;
    this.#path = path;
  }

  has(key: string): boolean {
    return this.#get(key) !== undefined;
  }

  text(key: string, fallback?: string): string {
    const value = this.#get(key) ?? fallback;
    if (typeof value !== 'string') throw this.invalid(`${key} is not a string`);
    return value;
  }

  flag(key: string): boolean {
    const value = this.#get(key) ?? false;
    if (typeof value !== 'boolean') throw this.invalid(`${key} is neither true nor false`);
    return value;
  }

  number(key: string, fallback: number): number {
    const value = this.#get(key) ?? fallback;
    if (typeof value !== 'number') throw this.invalid(`${key} is not a number`);
    return value;
  }

  optionalPort(key: string): number | undefined {
    return this.has(key) ? this.number(key, 0) : undefined;
  }

  choice<T extends string>(key: string, choices: readonly T[], fallback: T): T {
    return this.optionalChoice(key, choices) ?? fallback;
  }

  optionalChoice<T extends string>(key: string, choices: readonly T[]): T | undefined {
    return this.has(key) ? this.oneOf(this.text(key), choices) : undefined;
  }

  oneOf<T extends string>(value: string, choices: readonly T[]): T {
    const found = choices.find((choice) => choice === value);
    if (found === undefined) throw this.invalid(`"${value}" is none of ${choices.join(', ')}`);
    return found;
  }

  texts(key: string): string[] {
    return this.list(key).map((item) => item.#as('string'));
  }

  numbers(key: string): number[] {
    return this.list(key).map((item) => item.#as('number'));
  }

  list(key: string): Reader[] {
    const value = this.#get(key);
    return value === undefined || value === null ? [] : new Reader(value, `${this.#path}.${key}`).items();
  }

  items(): Reader[] {
    if (!Array.isArray(this.#value)) throw this.invalid('is not a list');
    return this.#value.map((item, index) => new Reader(item, `${this.#path}[${index}]`));
  }

  child(key: string): Reader | undefined {
    const value = this.#get(key);
    return value === undefined || value === null ? undefined : new Reader(value, `${this.#path}.${key}`);
  }

  entries(key: string): [string, Reader][] {
    const child = this.child(key);
    return child === undefined
      ? []
      : Object.entries(child.#object()).map(([name, value]) => [name, new Reader(value, `${child.#path}.${name}`)]);
  }

  /** A map from service port to target port. */
  ports(): Map<number, number> {
    return new Map(
      Object.entries(this.#object()).map(([from, to]) => {
        if (typeof to !== 'number' || !/^\d+$/.test(from)) throw this.invalid('is not a map of ports');
        return [Number(from), to];
      }),
    );
  }

  address(text: string): string {
    const address = parseAddress(text);
    if (address === undefined) throw this.invalid(`"${text}" is not an address`);
    return address;
  }

  ignore(key: string): void {
    this.#used.add(key);
  }

  /** Complains about keys that were not read. */
  done(): void {
    const unknown = Object.keys(this.#object()).find((key) => !this.#used.has(key));
    if (unknown !== undefined) throw this.invalid(`unknown field ${unknown}`);
  }

  invalid(why: string): IsthmusError {
    return new IsthmusError('ISTHMUS_CONFIG_INVALID', `${this.#path}: ${why}`);
  }

  #get(key: string): unknown {
    this.#used.add(key);
    return this.#object()[key];
  }

  #object(): Record<string, unknown> {
    if (typeof this.#value !== 'object' || this.#value === null || Array.isArray(this.#value)) throw this.invalid('is not a map');
    return this.#value as Record<string, unknown>;
  }

  #as(type: 'string'): string;
  #as(type: 'number'): number;
  #as(type: 'string' | 'number'): string | number {
    if (typeof this.#value !== type) throw this.invalid(`is not a ${type}`);
    return this.#value as string | number;
  }
}
