import { getSystemErrorMap } from 'node:util';

import { IsthmusError } from '../core/index.ts';
import { SyscallError } from '../linux/index.ts';

/** How a failed connection counts in the metrics; upstream's response_flags. */
export type ResponseFlag = '-' | 'DENY' | 'CONNECT' | 'TLS_FAILURE' | 'H2_HANDSHAKE_FAILURE' | 'NETWORK_POLICY' | 'IDENTITY_ERROR';

/**
 * The text of a failure as the access log shows it: upstream's words where upstream has some, so that existing searches
 * find ours as well.
 */
export function failureText(error: unknown, context: 'outbound' | 'inbound'): string {
  if (error instanceof SyscallError)
    return `${context === 'inbound' ? 'connection failed' : 'io error'}: ${systemText(error.errno, error.errnoNumber)}`;
  if (error instanceof IsthmusError) {
    if (error.code === 'HBONE_CONNECTION_LOST') {
      const { cause } = error;
      return `h2 failed: ${error.message}${cause instanceof Error ? `: ${cause.message}` : ''}`;
    }
    if (error.code === 'ISTHMUS_TIMEOUT') {
      return context === 'inbound' ? 'connection failed: deadline has elapsed' : 'io error: deadline has elapsed';
    }
    return error.message;
  }
  if (error instanceof Error) {
    const { errno, code } = error as NodeJS.ErrnoException;
    return errno === undefined || code === undefined ? error.message : `io error: ${systemText(code, -errno)}`;
  }
  return String(error);
}

export function responseFlag(error: unknown): ResponseFlag {
  if (!(error instanceof IsthmusError)) return 'CONNECT';
  switch (error.code) {
    case 'ZTUNNEL_POLICY_DENIED':
    case 'ZTUNNEL_POLICY_CHANGED':
      return 'DENY';
    case 'HBONE_TLS':
    case 'HBONE_PEER_IDENTITY':
      return 'TLS_FAILURE';
    case 'HBONE_CONNECTION_LOST':
    case 'HBONE_PROTOCOL':
      return 'H2_HANDSHAKE_FAILURE';
    case 'HBONE_CONNECT_TIMEOUT':
      return 'NETWORK_POLICY';
    case 'ZTUNNEL_CERTIFICATE':
      return 'IDENTITY_ERROR';
    default:
      return 'CONNECT';
  }
}

/** `Connection refused (os error 111)`. */
function systemText(name: string, number: number): string {
  const message = getSystemErrorMap().get(-number)?.[1] ?? name;
  return `${message.charAt(0).toUpperCase()}${message.slice(1)} (os error ${number})`;
}
