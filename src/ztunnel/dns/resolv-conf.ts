import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';

/** What of resolv.conf(5) concerns forwarding: search domains are the client's business. */
export interface ResolvConf {
  readonly nameservers: readonly string[];
  /** How often all servers are tried. */
  readonly attempts: number;
}

/** More servers than the C library takes are left out. */
const maxServers = 3;

/** Reads resolv.conf; without one or without servers in it, names cannot be forwarded. */
export function readResolvConf(file = '/etc/resolv.conf'): ResolvConf {
  try {
    return parseResolvConf(readFileSync(file, 'utf8'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { nameservers: [], attempts: 2 };
    throw error;
  }
}

export function parseResolvConf(text: string): ResolvConf {
  const nameservers: string[] = [];
  let attempts = 2;
  for (const line of text.split('\n')) {
    const [keyword, ...words] = line
      .replace(/[#;].*$/, '')
      .trim()
      .split(/\s+/);
    if (keyword === 'nameserver' && words[0] !== undefined && isIP(words[0]) !== 0) nameservers.push(words[0]);
    if (keyword === 'options') {
      for (const word of words) {
        const match = /^attempts:(\d+)$/.exec(word);
        if (match !== null) attempts = Math.min(5, Math.max(1, Number(match[1])));
      }
    }
  }
  return { nameservers: nameservers.slice(0, maxServers), attempts };
}
