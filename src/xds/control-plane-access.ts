import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { isAbsolute, resolve } from 'node:path';
import { rootCertificates } from 'node:tls';

import { IsthmusError } from '../core/index.ts';
import type { ClientTls } from './client-transport.ts';

/**
 * What to believe of a control plane at `url`, as proxies are told it by their environment. `roots` is a path, a PEM, or `SYSTEM`; a
 * file is read anew each time, for it changes when the root is rotated. `alternativeName` is another name that the server may have
 * (ALT_CA_HOSTNAME, ALT_XDS_HOSTNAME).
 */
export async function controlPlaneTls(url: string, roots: string, alternativeName: string | undefined): Promise<ClientTls> {
  const believed = await readRoots(roots);
  if (alternativeName === undefined) return { roots: believed };
  const host = new URL(url).hostname.replace(/^\[|\]$/g, '');
  return {
    roots: believed,
    ...(isIP(host) !== 0 && { serverName: alternativeName }),
    verifyServer: ([leaf]) => {
      const fits = leaf.checkHost(alternativeName) ?? (isIP(host) === 0 ? leaf.checkHost(host) : leaf.checkIP(host));
      if (fits === undefined) {
        throw new IsthmusError('XDS_CONNECT', `the certificate of ${url} is neither for ${host} nor for ${alternativeName}`);
      }
    },
  };
}

/** Root certificates, PEM: `SYSTEM`'s, those of a text, or those of a file. */
export async function readRoots(source: string): Promise<string> {
  if (source === 'SYSTEM') return rootCertificates.join('\n');
  return source.includes('-----BEGIN') ? source : await readFile(findPath(source), 'utf8');
}

/**
 * The token by which a process proves itself (AUTH_TOKEN): the text itself, or from a file, which the kubelet replaces; undefined when
 * there is no such file. Throws ISTHMUS_CONFIG_INVALID for an empty one.
 */
export async function readToken(source: string): Promise<string | undefined> {
  if (!source.includes('/')) return source;
  let token: string;
  try {
    token = (await readFile(findPath(source), 'utf8')).trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  if (token === '') throw new IsthmusError('ISTHMUS_CONFIG_INVALID', `the token file ${source} is empty`);
  return token;
}

/** Relative paths, as upstream's defaults are, are looked up from `/` too. */
export function findPath(path: string): string {
  if (isAbsolute(path)) return path;
  const here = resolve(path);
  return existsSync(here) ? here : resolve('/', path);
}
