import { numberAt, objectAt, objectsAt, stringAt, type Json } from '../json.ts';
import type { FieldError } from '../types.ts';
import { invalid, invalidUnshown, notSupported, required } from './errors.ts';

const pathTypes = ['Exact', 'ImplementationSpecific', 'Prefix'];

/** What has to be said for an Ingress to mean something: a backend or rules, and of each path its type and its backend. */
export function validateIngress(ingress: Json): FieldError[] {
  const spec = objectAt(ingress, 'spec');
  const rules = objectsAt(spec, 'rules');
  const backend = objectAt(spec, 'defaultBackend');
  if (rules.length === 0 && backend === undefined) return [invalid('spec', null, 'either `defaultBackend` or `rules` must be specified')];
  return [
    ...(backend === undefined ? [] : validateBackend('spec.defaultBackend', backend)),
    ...rules.flatMap((rule, index) => {
      const http = objectAt(rule, 'http');
      return http === undefined ? [] : validatePaths(`spec.rules[${index}].http.paths`, objectsAt(http, 'paths'));
    }),
  ];
}

function validatePaths(at: string, paths: readonly Json[]): FieldError[] {
  if (paths.length === 0) return [required(at)];
  return paths.flatMap((path, index) => [
    ...validatePath(`${at}[${index}]`, path),
    ...validateBackend(`${at}[${index}].backend`, objectAt(path, 'backend') ?? {}),
  ]);
}

function validatePath(at: string, path: Json): FieldError[] {
  const type = stringAt(path, 'pathType');
  if (type === undefined) return [required(`${at}.pathType`, 'pathType must be specified')];
  if (!pathTypes.includes(type)) return [notSupported(`${at}.pathType`, type, pathTypes)];
  const value = stringAt(path, 'path') ?? '';
  const mayBeEmpty = type === 'ImplementationSpecific' && value === '';
  return mayBeEmpty || value.startsWith('/') ? [] : [invalid(`${at}.path`, value, 'must be an absolute path')];
}

function validateBackend(at: string, backend: Json): FieldError[] {
  const service = objectAt(backend, 'service');
  const resource = objectAt(backend, 'resource');
  if (service !== undefined && resource !== undefined) return [invalidUnshown(at, 'cannot set both resource and service backends')];
  if (service !== undefined) return validateServiceBackend(at, service);
  return resource === undefined ? [invalid(at, '', 'resource or service backend is required')] : [];
}

function validateServiceBackend(at: string, service: Json): FieldError[] {
  const port = objectAt(service, 'port');
  const named = (stringAt(port, 'name') ?? '') !== '';
  const numbered = (numberAt(port, 'number') ?? 0) !== 0;
  return [
    ...((stringAt(service, 'name') ?? '') === '' ? [required(`${at}.service.name`)] : []),
    ...(named && numbered ? [invalidUnshown(at, 'cannot set both port name & port number')] : []),
    ...(named || numbered ? [] : [required(at, 'port name or number is required')]),
  ];
}
