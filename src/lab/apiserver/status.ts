import type { Status } from '../../api/kubernetes.ts';
import type { FieldError, ResourceInfo } from './schema/index.ts';

type Details = NonNullable<Status['details']>;

/** An answer of the API that is an error: the body that clients get, thrown. */
export class StatusError extends Error {
  readonly code: number;
  readonly reason: string | undefined;
  readonly details: Details | undefined;

  constructor(options: { code: number; reason?: string; message: string; details?: Details }) {
    super(options.message);
    this.name = 'StatusError';
    this.code = options.code;
    this.reason = options.reason;
    this.details = options.details;
  }

  body(): Status & { metadata: object } {
    return {
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Failure',
      message: this.message,
      ...(this.reason !== undefined && { reason: this.reason }),
      ...(this.details !== undefined && { details: this.details }),
      code: this.code,
    };
  }
}

/** What an error speaks of: `configmaps`, `deployments.apps`. */
type Resource = Pick<ResourceInfo, 'group' | 'plural'>;
type Kind = Pick<ResourceInfo, 'group' | 'kind'>;

/** `deployments.apps`; the core group is not named. */
export function qualified(name: string, group: string): string {
  return group === '' ? name : `${name}.${group}`;
}

function details(kind: string, group: string, name?: string): Details {
  return { ...(name !== undefined && name !== '' && { name }), ...(group !== '' && { group }), kind };
}

export function notFound(resource: Resource, name: string): StatusError {
  return new StatusError({
    code: 404,
    reason: 'NotFound',
    message: `${qualified(resource.plural, resource.group)} ${JSON.stringify(name)} not found`,
    details: details(resource.plural, resource.group, name),
  });
}

export function alreadyExists(resource: Resource, name: string): StatusError {
  return new StatusError({
    code: 409,
    reason: 'AlreadyExists',
    message: `${qualified(resource.plural, resource.group)} ${JSON.stringify(name)} already exists`,
    details: details(resource.plural, resource.group, name),
  });
}

export function conflict(resource: Resource, name: string, why: string): StatusError {
  return new StatusError({
    code: 409,
    reason: 'Conflict',
    message: `Operation cannot be fulfilled on ${qualified(resource.plural, resource.group)} ${JSON.stringify(name)}: ${why}`,
    details: details(resource.plural, resource.group, name),
  });
}

/** Optimistic concurrency: somebody else wrote since. */
export function modified(resource: Resource, name: string): StatusError {
  return conflict(resource, name, 'the object has been modified; please apply your changes to the latest version and try again');
}

export function forbidden(resource: Resource, name: string | undefined, why: string, causes?: Details['causes']): StatusError {
  const what = qualified(resource.plural, resource.group) + (name === undefined || name === '' ? '' : ` ${JSON.stringify(name)}`);
  return new StatusError({
    code: 403,
    reason: 'Forbidden',
    message: `${what} is forbidden: ${why}`,
    details: { ...details(resource.plural, resource.group, name), ...(causes !== undefined && { causes }) },
  });
}

/** 422 with one cause per error. */
export function invalid(kind: Kind, name: string | undefined, errors: readonly FieldError[]): StatusError {
  const texts = [...new Set(errors.map(({ field, message }) => `${field}: ${message}`))];
  const text = texts.length === 1 ? (texts[0] ?? '') : `[${texts.join(', ')}]`;
  return new StatusError({
    code: 422,
    reason: 'Invalid',
    message: `${qualified(kind.kind, kind.group)} ${JSON.stringify(name ?? '')} is invalid: ${text}`,
    details: { ...details(kind.kind, kind.group, name), causes: errors.map(({ reason, message, field }) => ({ reason, message, field })) },
  });
}

/** 422 of the kind that a failed JSON patch answers, without a word on why. */
export function unprocessable(): StatusError {
  return new StatusError({
    code: 422,
    reason: 'Invalid',
    message: 'the server rejected our request due to an error in our request',
    details: {},
  });
}

export function badRequest(message: string): StatusError {
  return new StatusError({ code: 400, reason: 'BadRequest', message });
}

export function unauthorized(): StatusError {
  return new StatusError({ code: 401, reason: 'Unauthorized', message: 'Unauthorized' });
}

export function methodNotAllowed(): StatusError {
  return new StatusError({
    code: 405,
    reason: 'MethodNotAllowed',
    message: 'the server does not allow this method on the requested resource',
    details: {},
  });
}

export function notAcceptable(available: readonly string[]): StatusError {
  return new StatusError({
    code: 406,
    reason: 'NotAcceptable',
    message: `406: Not Acceptable\n\nAvailable representations: ${available.join(', ')}`,
    details: {},
  });
}

/** `accepted` absent: the bare answer to a patch type that the resource does not know. */
export function unsupportedMediaType(accepted?: readonly string[]): StatusError {
  if (accepted === undefined) {
    return new StatusError({ code: 415, reason: 'UnsupportedMediaType', message: '415: Unsupported Media Type', details: {} });
  }
  return new StatusError({
    code: 415,
    reason: 'UnsupportedMediaType',
    message: `the body of the request was in an unknown format - accepted media types include: ${accepted.join(', ')}`,
  });
}

export function tooLarge(limit: number): StatusError {
  return new StatusError({
    code: 413,
    reason: 'RequestEntityTooLarge',
    message: `Request entity too large: limit is ${String(limit)}`,
  });
}

/** 410: the version asked for is not kept any more; the client lists anew. */
export function expired(message: string): StatusError {
  return new StatusError({ code: 410, reason: 'Expired', message });
}

export function internalError(message: string): StatusError {
  return new StatusError({
    code: 500,
    reason: 'InternalError',
    message: `Internal error occurred: ${message}`,
    details: { causes: [{ message }] },
  });
}
