import type { AnyObject } from '../../../api/kubernetes.ts';
import { asObject, isObject, printed } from '../json.ts';
import type { ServedResource } from '../registry.ts';
import { DecodeError, type TypeSchema } from '../schema/index.ts';
import { badRequest } from '../status.ts';
import type { WriteOptions } from './cluster.ts';

/** What a body is to become: the kind that the endpoint takes. */
export interface ExpectedKind {
  readonly kind: string;
  readonly apiVersion: string;
  readonly group: string;
  readonly custom: boolean;
}

export function expectedKind(resource: ServedResource): ExpectedKind {
  return {
    kind: resource.info.kind,
    apiVersion: resource.apiVersion,
    group: resource.info.group,
    custom: resource.crd !== undefined,
  };
}

/**
 * Checks that a body is of the kind that the endpoint takes (a body without one counts as such), and reads it as its type does.
 * Throws the API's 400; adds warnings for fields that are not known.
 */
export function decodeBody(
  body: unknown,
  expected: ExpectedKind,
  schema: TypeSchema,
  options: Pick<WriteOptions, 'fieldValidation' | 'warnings'>,
): AnyObject {
  const given = asObject(body);
  const kind = given['kind'] ?? expected.kind;
  const apiVersion = given['apiVersion'] ?? expected.apiVersion;
  if (kind !== expected.kind || apiVersion !== expected.apiVersion) throw wrongKind(printed(apiVersion), printed(kind), expected);
  if (!isObject(body)) throw badRequest(`the object provided is unrecognized (must be of type ${expected.kind})`);
  return readAs({ ...given, kind, apiVersion }, expected, schema, options, true);
}

/** Reads an object as its type does; `named`: errors name the kind, as they do for whole bodies but not for patches. */
export function readAs(
  object: unknown,
  expected: ExpectedKind,
  schema: TypeSchema,
  options: Pick<WriteOptions, 'fieldValidation' | 'warnings'>,
  named: boolean,
): AnyObject {
  const version = expected.apiVersion.split('/').at(-1) ?? '';
  const prefix = named ? `${expected.kind} in version ${JSON.stringify(version)} cannot be handled as a ${expected.kind}: ` : '';
  try {
    const { object: read, unknownFields } = schema.prune(object, { mode: 'drop' });
    const problems = unknownFields.map((field) => `unknown field ${JSON.stringify(field)}`);
    if (problems.length > 0 && options.fieldValidation === 'Strict') {
      throw badRequest(`${prefix}strict decoding error: ${problems.join(', ')}`);
    }
    if (options.fieldValidation === 'Warn') options.warnings.push(...problems);
    return read;
  } catch (error) {
    if (error instanceof DecodeError) throw badRequest(`${prefix}${error.message}`);
    throw error;
  }
}

function wrongKind(apiVersion: string, kind: string, expected: ExpectedKind): Error {
  if (expected.custom) {
    if (kind !== expected.kind) {
      return badRequest(`the kind in the data (${kind}) does not match the expected kind (${expected.kind})`);
    }
    return badRequest(`the API version in the data (${apiVersion}) does not match the expected API version (${expected.apiVersion})`);
  }
  const [version] = apiVersion.split('/').toReversed();
  const internal = expected.group === '' ? 'core' : expected.group.split('.')[0];
  return badRequest(
    `${kind} in version ${JSON.stringify(version)} cannot be handled as a ${expected.kind}: ` +
      `converting (${version ?? ''}.${kind}) to (${internal ?? ''}.${expected.kind}): unknown conversion`,
  );
}
