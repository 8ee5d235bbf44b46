import { isIP, isIPv4 } from 'node:net';

import { Environment } from '@marcbachmann/cel-js';

import { canonicalQuantity, compareQuantities } from '../quantity.ts';
import { toLibraryDialect } from './cel-dialect.ts';
import { isCidr, isUri } from './formats.ts';
import { regularExpression } from './regular-expression.ts';

/** A rule that is ready to be evaluated; throws when the evaluation fails. */
export type Program = (variables: { readonly self: unknown; readonly oldSelf?: unknown }) => unknown;

let environment: Environment | undefined;

const programs = new Map<string, Program>();

/** The compiled rule, each compiled once; throws the parser's error when the text is no CEL expression. */
export function programOf(rule: string): Program {
  let program = programs.get(rule);
  if (program === undefined) {
    environment ??= createEnvironment();
    const parsed = environment.parse(toLibraryDialect(rule));
    program = (variables) => parsed({ ...variables });
    programs.set(rule, program);
  }
  return program;
}

class UrlValue {
  readonly url: URL;
  readonly text: string;

  constructor(text: string) {
    if (!isUri(text)) throw new Error(`URL parse error during conversion from string: parse "${text}": invalid URI for request`);
    this.text = text;
    // A path alone is a URL here; the base lends only what is not asked for.
    this.url = new URL(text, 'relative://');
  }

  get isAbsolute(): boolean {
    return !this.text.startsWith('/');
  }
}

class IpValue {
  readonly text: string;

  constructor(text: string) {
    if (isIP(text) === 0) throw new Error(`IP Address "${text}" parse error during conversion from string`);
    this.text = text;
  }
}

class CidrValue {
  readonly text: string;

  constructor(text: string) {
    if (!isCidr(text)) throw new Error(`CIDR "${text}" parse error during conversion from string`);
    this.text = text;
  }
}

class QuantityValue {
  readonly text: string;

  constructor(text: string) {
    const canonical = canonicalQuantity(text);
    if (canonical === undefined) throw new Error(`quantity parse error: ${text}`);
    this.text = canonical;
  }
}

type Comparable = bigint | number | string;

/** CEL with the functions that Kubernetes adds and that rules of CRDs use (k8s.io/apiserver pkg/cel/library: lists, regex, URLs, IP, CIDR, quantities). */
function createEnvironment(): Environment {
  const env = new Environment({ unlistedVariablesAreDyn: true, homogeneousAggregateLiterals: false, enableOptionalTypes: true });
  env.registerFunction('string.matchesRe2(string): bool', (text: string, pattern: string) => regularExpression(pattern).test(text));
  env.registerFunction('string.find(string): string', (text: string, pattern: string) => regularExpression(pattern).exec(text)?.[0] ?? '');
  env.registerFunction('string.findAll(string): list<string>', (text: string, pattern: string) =>
    [...text.matchAll(new RegExp(regularExpression(pattern).source, 'g'))].map(([match]) => match),
  );
  env.registerFunction('string.replace(string, string): string', (text: string, from: string, to: string) => text.replaceAll(from, to));
  env.registerFunction('string.charAt(int): string', (text: string, index: bigint) => text.charAt(Number(index)));

  env.registerFunction('list<int>.sum(): int', (list: bigint[]) => list.reduce((sum, item) => sum + item, 0n));
  env.registerFunction('list<double>.sum(): double', (list: number[]) => list.reduce((sum, item) => sum + item, 0));
  env.registerFunction('list.min(): dyn', (list: Comparable[]) => extreme(list, (a, b) => a < b));
  env.registerFunction('list.max(): dyn', (list: Comparable[]) => extreme(list, (a, b) => a > b));
  env.registerFunction('list.isSorted(): bool', (list: Comparable[]) =>
    list.every((item, index) => index === 0 || (list[index - 1] ?? item) <= item),
  );
  env.registerFunction('list.indexOf(dyn): int', (list: unknown[], item: unknown) => BigInt(list.indexOf(item)));
  env.registerFunction('list.lastIndexOf(dyn): int', (list: unknown[], item: unknown) => BigInt(list.lastIndexOf(item)));

  env.registerType('kubernetes.URL', { ctor: UrlValue, fields: {} });
  env.registerFunction('isURL(string): bool', isUri);
  env.registerFunction('url(string): kubernetes.URL', (text: string) => new UrlValue(text));
  env.registerFunction('kubernetes.URL.getScheme(): string', (url: UrlValue) => (url.isAbsolute ? url.url.protocol.slice(0, -1) : ''));
  env.registerFunction('kubernetes.URL.getHost(): string', (url: UrlValue) => url.url.host);
  env.registerFunction('kubernetes.URL.getHostname(): string', (url: UrlValue) => url.url.hostname);
  env.registerFunction('kubernetes.URL.getPort(): string', (url: UrlValue) => url.url.port);
  env.registerFunction('kubernetes.URL.getEscapedPath(): string', (url: UrlValue) => url.url.pathname);

  env.registerType('net.IP', { ctor: IpValue, fields: {} });
  env.registerFunction('isIP(string): bool', (text: string) => isIP(text) !== 0);
  env.registerFunction('ip(string): net.IP', (text: string) => new IpValue(text));
  env.registerFunction('net.IP.family(): int', (address: IpValue) => (isIPv4(address.text) ? 4n : 6n));
  env.registerType('net.CIDR', { ctor: CidrValue, fields: {} });
  env.registerFunction('isCIDR(string): bool', isCidr);
  env.registerFunction('cidr(string): net.CIDR', (text: string) => new CidrValue(text));
  env.registerFunction('net.CIDR.prefixLength(): int', (cidr: CidrValue) => BigInt(cidr.text.split('/')[1] ?? 0));

  env.registerType('kubernetes.Quantity', { ctor: QuantityValue, fields: {} });
  env.registerFunction('isQuantity(string): bool', (text: string) => canonicalQuantity(text) !== undefined);
  env.registerFunction('quantity(string): kubernetes.Quantity', (text: string) => new QuantityValue(text));
  for (const [name, holds] of [
    ['isLessThan', (order: number) => order < 0],
    ['isGreaterThan', (order: number) => order > 0],
  ] as const) {
    env.registerFunction(`kubernetes.Quantity.${name}(kubernetes.Quantity): bool`, (a: QuantityValue, b: QuantityValue) =>
      holds(compareQuantities(a.text, b.text)),
    );
  }
  env.registerFunction('kubernetes.Quantity.compareTo(kubernetes.Quantity): int', (a: QuantityValue, b: QuantityValue) =>
    BigInt(compareQuantities(a.text, b.text)),
  );
  return env;
}

function extreme(list: readonly Comparable[], better: (a: Comparable, b: Comparable) => boolean): Comparable {
  const [first, ...rest] = list;
  if (first === undefined) throw new Error('min or max called on empty list');
  return rest.reduce((best, item) => (better(item, best) ? item : best), first);
}
