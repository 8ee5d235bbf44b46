import { IsthmusError } from '../core/index.ts';
import type { HeaderField } from './hpack/dynamic-table.ts';

/** What came as the headers of a new stream. */
export type ParsedRequest =
  | { readonly kind: 'connect'; readonly authority: string; readonly headers: ReadonlyMap<string, readonly string[]> }
  /** Well-formed HTTP, but not a CONNECT. */
  | { readonly kind: 'other'; readonly method: string }
  /** Breaks the rules for HTTP/2 header fields (RFC 9113, section 8.2 and 8.3). */
  | { readonly kind: 'malformed'; readonly reason: string };

const requestPseudoHeaders: ReadonlySet<string> = new Set([':method', ':scheme', ':authority', ':path']);

/** Tells a CONNECT from all else. A CONNECT has `:method` and `:authority` and no other pseudo-header. */
export function parseRequest(fields: readonly HeaderField[]): ParsedRequest {
  const pseudo = new Map<string, string>();
  const headers = new Map<string, string[]>();
  for (const [name, value] of fields) {
    if (name.startsWith(':')) {
      if (!requestPseudoHeaders.has(name)) return malformed(`unknown pseudo-header ${name}`);
      if (pseudo.has(name)) return malformed(`${name} twice`);
      if (headers.size > 0) return malformed(`${name} after an ordinary header`);
      pseudo.set(name, value);
    } else if (name === '' || name !== name.toLowerCase()) return malformed('header name in upper case');
    else if (connectionHeaders.has(name)) return malformed(`header ${name} has no meaning in HTTP/2`);
    else {
      const values = headers.get(name);
      if (values === undefined) headers.set(name, [value]);
      else values.push(value);
    }
  }
  const method = pseudo.get(':method');
  if (method === undefined) return malformed('no :method');
  if (method !== 'CONNECT') {
    return pseudo.has(':scheme') && pseudo.get(':path') !== undefined && pseudo.get(':path') !== ''
      ? { kind: 'other', method }
      : malformed('no :path or :scheme');
  }
  if (pseudo.has(':scheme') || pseudo.has(':path')) return malformed('CONNECT with :scheme or :path');
  return { kind: 'connect', authority: pseudo.get(':authority') ?? '', headers };
}

const connectionHeaders: ReadonlySet<string> = new Set(['connection', 'proxy-connection', 'keep-alive', 'transfer-encoding', 'upgrade']);

function malformed(reason: string): ParsedRequest {
  return { kind: 'malformed', reason };
}

/** The status of a response. Throws HBONE_PROTOCOL when there is none. */
export function parseStatus(fields: readonly HeaderField[]): number {
  const status = fields.find(([name]) => name === ':status')?.[1];
  if (status === undefined || !/^[1-5]\d\d$/.test(status)) throw new IsthmusError('HBONE_PROTOCOL', 'response without a status');
  return Number(status);
}
