import { createSecureContext } from 'node:tls';

import { IsthmusError } from '../../core/index.ts';
import type { Credentials } from '../credentials.ts';
import type { ExecApiVersion, ExecConfig } from './config.ts';

/** What a plugin gave. */
export interface PluginCredentials extends Credentials {
  /** Milliseconds since 1970; absent when the plugin names no end. */
  readonly expiresAt?: number;
}

/** The value of KUBERNETES_EXEC_INFO: an ExecCredential without a status. */
export function execInfo({ apiVersion, cluster }: ExecConfig, interactive: boolean): string {
  return JSON.stringify({ kind: 'ExecCredential', apiVersion, spec: { ...(cluster !== undefined && { cluster }), interactive } });
}

type Fields = Readonly<Record<string, unknown>>;

/**
 * Reads the ExecCredential that a plugin printed. Throws KUBE_EXEC_INVALID; the error holds nothing of the text, which may be a
 * secret, and for the same reason not the JSON parser's own error, which quotes from it.
 */
export function parseExecCredential(text: string, command: string, apiVersion: ExecApiVersion): PluginCredentials {
  const invalid = (what: string): IsthmusError =>
    new IsthmusError('KUBE_EXEC_INVALID', `the credential plugin ${command} ${what}`, {
      hint: 'run the command of users[].user.exec by hand and look at what it prints',
    });
  if (text.trim() === '') throw invalid('printed nothing');
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw invalid('printed something else than JSON');
  }
  if (!isFields(parsed) || parsed['kind'] !== 'ExecCredential') throw invalid('printed JSON that is no ExecCredential');
  if (parsed['apiVersion'] !== apiVersion) {
    // Only a version is repeated: whatever else stands there may be a secret in the wrong place.
    const other = /^client\.authentication\.k8s\.io\/v\w{1,20}$/.exec(String(parsed['apiVersion']))?.[0] ?? 'another one';
    throw invalid(`is configured to use the API version ${apiVersion}, but answered in ${other}`);
  }
  const { status } = parsed;
  if (!isFields(status)) throw invalid('gave an ExecCredential without a status');
  const field = (name: string): string | undefined => {
    const value = status[name] ?? '';
    if (typeof value !== 'string') throw invalid(`gave a ${name} that is no string`);
    return value === '' ? undefined : value;
  };
  const token = field('token');
  const cert = field('clientCertificateData');
  const key = field('clientKeyData');
  if (token === undefined && cert === undefined && key === undefined) throw invalid('gave neither a token nor a certificate with its key');
  if ((cert === undefined) !== (key === undefined)) throw invalid('gave only a certificate or only a key, not both');
  if (token !== undefined && !/^[\x21-\x7e]+$/.test(token)) throw invalid('gave a token with characters that no header can hold');
  if (cert !== undefined && key !== undefined && !belongTogether(cert, key)) {
    throw invalid('gave a certificate and a key that cannot be read or do not belong together');
  }
  const expires = field('expirationTimestamp');
  // metav1.Time is RFC 3339, which always has a time and a zone.
  const expiresAt = expires === undefined || !/^\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)$/.test(expires) ? NaN : Date.parse(expires);
  if (expires !== undefined && Number.isNaN(expiresAt)) throw invalid('gave an expirationTimestamp that is no time of RFC 3339');
  return {
    ...(token !== undefined && { token }),
    ...(cert !== undefined && key !== undefined && { cert, key }),
    ...(expires !== undefined && { expiresAt }),
  };
}

function belongTogether(cert: string, key: string): boolean {
  try {
    createSecureContext({ cert, key });
    return true;
  } catch {
    return false;
  }
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null;
}
