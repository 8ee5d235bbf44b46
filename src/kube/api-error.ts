import type { Status } from '../api/kubernetes.ts';
import { IsthmusError } from '../core/index.ts';

/** The API server's answer was an error: its Status, as it came. */
export class KubeApiError extends IsthmusError {
  /** HTTP status code. */
  readonly httpCode: number;
  readonly status: Status;

  constructor(what: string, httpCode: number, status: Status) {
    super('KUBE_API', `${what}: ${status.message ?? status.reason ?? `HTTP ${String(httpCode)}`}`);
    this.httpCode = httpCode;
    this.status = status;
  }
}

function hasReason(error: unknown, reason: string): boolean {
  return error instanceof KubeApiError && error.status.reason === reason;
}

export const isNotFound = (error: unknown): boolean => hasReason(error, 'NotFound');
export const isAlreadyExists = (error: unknown): boolean => hasReason(error, 'AlreadyExists');
/** Another writer was faster (409 on an update), or another field manager owns a field (409 on an apply). */
export const isConflict = (error: unknown): boolean => hasReason(error, 'Conflict');
/** The version to watch from is too old: list anew. */
export const isExpired = (error: unknown): boolean => hasReason(error, 'Expired') || hasReason(error, 'Gone');
