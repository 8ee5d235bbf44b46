import type { Answer, Question } from 'dns-packet';

import type { DnsDirectory, DnsEndpoint, DnsPort, DnsService } from './dns-directory.ts';

/**
 * Names of the cluster's domain, by the Kubernetes DNS specification 1.1.0 and as CoreDNS' kubernetes plugin answers where
 * that leaves room. Pure: a question and a directory in, an answer out.
 */

/** Seconds that an answer may be kept; CoreDNS' default. */
const ttl = 5;

/** A CNAME into the same zone is followed so often. */
const longestChain = 8;

export const rcodes = { noError: 0, formatError: 1, serverFailure: 2, nameError: 3, notImplemented: 4, refused: 5 } as const;

export interface Reply {
  readonly rcode: number;
  readonly answers: readonly Answer[];
  readonly additionals?: readonly Answer[];
  readonly authorities?: readonly Answer[];
  /** The end of a CNAME chain that is in no zone of this server: to be asked elsewhere. */
  readonly unresolved?: string;
}

export interface ZoneOptions {
  /** Such as `cluster.local`. */
  readonly domain: string;
  /** The server's own address: what `ns.dns.<domain>` is. */
  readonly address: string;
}

/** Answers a question about a name of the domain or a reverse name that is known; undefined for a name of no zone of ours. */
export function answerFromZone(question: Question, directory: DnsDirectory, { domain, address }: ZoneOptions): Reply | undefined {
  const name = question.name.toLowerCase().replace(/\.$/, '');
  if (name === domain || name.endsWith(`.${domain}`)) {
    const zone = new Zone(directory, domain, address);
    return zone.answer(question.name, name, question.type);
  }
  const reversed = /^(\d+)\.(\d+)\.(\d+)\.(\d+)\.in-addr\.arpa$/.exec(name);
  if (reversed === null) return undefined;
  const names = directory.namesOf(reversed.slice(1).reverse().join('.'));
  if (names.length === 0) return undefined;
  if (question.type !== 'PTR') return { rcode: rcodes.noError, answers: [], authorities: [soa(domain)] };
  return {
    rcode: rcodes.noError,
    answers: names.map((target) => ({ type: 'PTR', name: question.name, ttl, data: `${target}.${domain}` })),
  };
}

/** The negative answer of a server that is the end of the world: `zone` is the name whose SOA record says so. */
export function noSuchName(zone: string): Reply {
  return { rcode: rcodes.nameError, answers: [], authorities: [soa(zone)] };
}

function soa(zone: string): Answer {
  const [mname, rname] = zone === '' ? ['ns.dns', 'hostmaster'] : [`ns.dns.${zone}`, `hostmaster.${zone}`];
  const serial = Math.floor(Date.now() / 1000);
  return {
    type: 'SOA',
    name: zone === '' ? '.' : zone,
    ttl,
    data: { mname, rname, serial, refresh: 7200, retry: 1800, expire: 86_400, minimum: ttl },
  };
}

/** What a name stands for. */
type Found =
  | { readonly kind: 'nothing' }
  /** The name exists, but has no records of its own (a namespace, `svc`). */
  | { readonly kind: 'empty' }
  | { readonly kind: 'records'; readonly addresses: readonly string[]; readonly services?: readonly Target[]; readonly text?: string }
  | { readonly kind: 'alias'; readonly target: string };

/** Where a port of a service is to be found. */
interface Target {
  readonly host: string;
  readonly port: number;
  readonly addresses: readonly string[];
}

const nothing: Found = { kind: 'nothing' };
const empty: Found = { kind: 'empty' };

class Zone {
  readonly #directory: DnsDirectory;
  readonly #domain: string;
  readonly #address: string;

  constructor(directory: DnsDirectory, domain: string, address: string) {
    this.#directory = directory;
    this.#domain = domain;
    this.#address = address;
  }

  /** `asked` is the name as the client wrote it, which it wants to see again; `name` the same in lower case. */
  answer(asked: string, name: string, type: string): Reply {
    const answers: Answer[] = [];
    let owner = asked;
    let current = name;
    for (let hop = 0; hop < longestChain; hop++) {
      const found = this.#find(current);
      if (found.kind === 'nothing') return { ...noSuchName(this.#domain), answers };
      if (found.kind !== 'alias') return this.#records(owner, current, found, type, answers);
      answers.push({ type: 'CNAME', name: owner, ttl, data: found.target });
      if (type === 'CNAME') return { rcode: rcodes.noError, answers };
      owner = found.target;
      current = found.target.toLowerCase().replace(/\.$/, '');
      if (current !== this.#domain && !current.endsWith(`.${this.#domain}`)) return { rcode: rcodes.noError, answers, unresolved: current };
    }
    return { rcode: rcodes.serverFailure, answers: [] };
  }

  #records(
    owner: string,
    name: string,
    found: Exclude<Found, { kind: 'alias' | 'nothing' }>,
    type: string,
    before: readonly Answer[],
  ): Reply {
    const answers: Answer[] = [...before];
    const additionals: Answer[] = [];
    if (name === this.#domain && type === 'SOA') answers.push(soa(this.#domain));
    if (name === this.#domain && type === 'NS') {
      answers.push({ type: 'NS', name: owner, ttl, data: `ns.dns.${this.#domain}` });
      additionals.push({ type: 'A', name: `ns.dns.${this.#domain}`, ttl, data: this.#address });
    }
    if (found.kind === 'records') {
      if (type === 'A') answers.push(...shuffled(found.addresses).map((data) => ({ type: 'A' as const, name: owner, ttl, data })));
      if (type === 'TXT' && found.text !== undefined) answers.push({ type: 'TXT', name: owner, ttl, data: found.text });
      const targets = found.services ?? [];
      if (type === 'SRV') {
        const weight = Math.max(1, Math.floor(100 / Math.max(1, targets.length)));
        for (const { host, port, addresses } of targets) {
          answers.push({ type: 'SRV', name: owner, ttl, data: { priority: 0, weight, port, target: host } });
          for (const data of addresses) {
            if (!additionals.some((known) => known.name === host && 'data' in known && known.data === data)) {
              additionals.push({ type: 'A', name: host, ttl, data });
            }
          }
        }
      }
    }
    const authorities = answers.length === before.length ? [soa(this.#domain)] : [];
    return { rcode: rcodes.noError, answers, additionals, authorities };
  }

  #find(name: string): Found {
    if (name === this.#domain) return empty;
    const parts = name.slice(0, -this.#domain.length - 1).split('.');
    switch (parts.pop()) {
      case 'svc':
        return this.#findBelowSvc(parts);
      case 'pod':
        return this.#findPod(parts);
      case 'dns':
        if (parts.length === 0) return empty;
        return parts.length === 1 && parts[0] === 'ns' ? { kind: 'records', addresses: [this.#address] } : nothing;
      case 'dns-version':
        return parts.length === 0 ? { kind: 'records', addresses: [], text: '1.1.0' } : nothing;
      default:
        return nothing;
    }
  }

  #findBelowSvc(parts: readonly string[]): Found {
    if (parts.length === 0) return empty;
    const [namespace = '', name, ...more] = [...parts].reverse();
    if (name === undefined) return this.#directory.hasNamespace(namespace) ? empty : nothing;
    const service = this.#directory.service(namespace, name);
    if (service === undefined) return nothing;
    if (service.externalName !== undefined) return more.length === 0 ? { kind: 'alias', target: service.externalName } : nothing;
    const [first, second] = more;
    if (first === undefined) return this.#wholeService(service);
    if (second === undefined) {
      // `_tcp.service`: exists if a port below it does.
      if (first.startsWith('_')) return this.#ports(service).some(({ protocol }) => `_${protocol}` === first) ? empty : nothing;
      return this.#endpoint(service, first);
    }
    if (more.length > 2) return nothing;
    const wanted = ({ name: portName, protocol }: DnsPort): boolean => `_${portName}` === second && `_${protocol}` === first;
    const services = this.#targets(service, wanted);
    return services.length === 0 ? nothing : { kind: 'records', addresses: [], services };
  }

  #wholeService(service: DnsService): Found {
    const addresses = isHeadless(service) ? [...new Set(service.endpoints.map(({ address }) => address))] : service.clusterAddresses;
    return { kind: 'records', addresses, services: this.#targets(service, () => true) };
  }

  #endpoint(service: DnsService, host: string): Found {
    const own = service.endpoints.filter((endpoint) => endpoint.host === host);
    if (own.length === 0) return nothing;
    const services = own.flatMap((endpoint) => endpoint.ports.map(({ port }) => this.#endpointTarget(service, endpoint, port)));
    return { kind: 'records', addresses: [...new Set(own.map(({ address }) => address))], services };
  }

  #ports(service: DnsService): readonly DnsPort[] {
    return isHeadless(service) ? service.endpoints.flatMap(({ ports }) => ports) : service.ports;
  }

  #targets(service: DnsService, wanted: (port: DnsPort) => boolean): readonly Target[] {
    if (isHeadless(service)) {
      return service.endpoints.flatMap((endpoint) =>
        endpoint.ports.filter(wanted).map(({ port }) => this.#endpointTarget(service, endpoint, port)),
      );
    }
    const host = `${service.name}.${service.namespace}.svc.${this.#domain}`;
    return service.ports.filter(wanted).map(({ port }) => ({ host, port, addresses: service.clusterAddresses }));
  }

  #endpointTarget(service: DnsService, { host, address }: DnsEndpoint, port: number): Target {
    return { host: `${host}.${service.name}.${service.namespace}.svc.${this.#domain}`, port, addresses: [address] };
  }

  /** `10-10-1-9.demo.pod`: the address that the name spells, in a namespace that exists (CoreDNS: pods insecure). */
  #findPod(parts: readonly string[]): Found {
    const [namespace, address, ...more] = [...parts].reverse();
    if (namespace === undefined) return empty;
    if (!this.#directory.hasNamespace(namespace) || more.length > 0) return nothing;
    if (address === undefined) return empty;
    const numbers = /^(\d{1,3})-(\d{1,3})-(\d{1,3})-(\d{1,3})$/.exec(address)?.slice(1).map(Number);
    if (numbers === undefined || numbers.some((number) => number > 255)) return nothing;
    return { kind: 'records', addresses: [numbers.join('.')] };
  }
}

function isHeadless(service: DnsService): boolean {
  return service.clusterAddresses.length === 0;
}

/** In another order each time: clients take the first address. */
function shuffled<T>(items: readonly T[]): readonly T[] {
  const copy = [...items];
  for (let i = copy.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    const [a, b] = [copy[i], copy[j]];
    if (a === undefined || b === undefined) continue;
    copy[i] = b;
    copy[j] = a;
  }
  return copy;
}
