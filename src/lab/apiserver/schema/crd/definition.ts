import { objectAt, objectsAt, stringAt, stringsAt, type Json } from '../json.ts';
import type { FieldError } from '../types.ts';
import { duplicate, invalid, notSupported, required } from '../validation/errors.ts';
import { label1035Messages, subdomainMessages } from '../validation/names.ts';
import { immutable } from '../validation/numbers.ts';
import { validateDefinitionSchema } from './definition-schema.ts';

/** What is wrong with a CustomResourceDefinition, on its own or as an update of `old`; its metadata is judged with all metadata. */
export function validateCrd(crd: Json, old?: Json): FieldError[] {
  const spec = objectAt(crd, 'spec');
  const names = objectAt(spec, 'names');
  const group = stringAt(spec, 'group') ?? '';
  const plural = stringAt(names, 'plural') ?? '';
  const name = stringAt(objectAt(crd, 'metadata'), 'name') ?? '';
  return [
    ...(name === `${plural}.${group}` ? [] : [invalid('metadata.name', name, 'must be spec.names.plural+"."+spec.group')]),
    ...validateGroup(group),
    ...validateNames(names),
    ...(spec?.['scope'] === 'Namespaced' || spec?.['scope'] === 'Cluster'
      ? []
      : (spec?.['scope'] ?? '') === ''
        ? [required('spec.scope')]
        : [notSupported('spec.scope', spec?.['scope'], ['Cluster', 'Namespaced'])]),
    ...validateVersions(objectsAt(spec, 'versions')),
    ...validateConversion(objectAt(spec, 'conversion')),
    ...(old === undefined ? [] : validateCrdUpdate(spec, old)),
  ];
}

function validateGroup(group: string): FieldError[] {
  if (group === '') return [required('spec.group')];
  const errors = subdomainMessages(group).map((message) => invalid('spec.group', group, message));
  return group.includes('.') ? errors : [...errors, invalid('spec.group', group, 'should be a domain with at least one dot')];
}

function validateNames(names: Json | undefined): FieldError[] {
  const lowercase = (field: string): FieldError[] => {
    const value = stringAt(names, field) ?? '';
    if (value === '') return [required(`spec.names.${field}`)];
    return label1035Messages(value).map((message) => invalid(`spec.names.${field}`, value, message));
  };
  const anyCase = (field: string): FieldError[] => {
    const value = stringAt(names, field) ?? '';
    if (value === '') return [required(`spec.names.${field}`)];
    return label1035Messages(value.toLowerCase()).map((message) =>
      invalid(`spec.names.${field}`, value, `may have mixed case, but should otherwise match: ${message}`),
    );
  };
  const kind = stringAt(names, 'kind');
  return [
    ...lowercase('plural'),
    ...lowercase('singular'),
    ...anyCase('kind'),
    ...anyCase('listKind'),
    ...(kind !== undefined && kind === stringAt(names, 'listKind')
      ? [invalid('spec.names.listKind', kind, 'kind and listKind may not be the same')]
      : []),
    ...['shortNames', 'categories'].flatMap((field) =>
      stringsAt(names, field).flatMap((value, index) =>
        label1035Messages(value).map((message) => invalid(`spec.names.${field}[${index}]`, value, message)),
      ),
    ),
  ];
}

function validateVersions(versions: readonly Json[]): FieldError[] {
  if (versions.length === 0) return [invalid('spec.versions', versions, 'must have exactly one version marked as storage version')];
  const stored = versions.filter((version) => version['storage'] === true).length;
  return [
    ...versions.flatMap((version, index) => {
      const path = `spec.versions[${index}]`;
      const name = stringAt(version, 'name') ?? '';
      const schema = objectAt(objectAt(version, 'schema'), 'openAPIV3Schema');
      const repeated = versions.slice(0, index).some((earlier) => earlier['name'] === name);
      return [
        ...label1035Messages(name).map((message) => invalid(`${path}.name`, name, message)),
        ...(repeated ? [duplicate(`${path}.name`, name)] : []),
        ...(schema === undefined
          ? [required(`${path}.schema.openAPIV3Schema`, 'schemas are required')]
          : validateDefinitionSchema(`${path}.schema.openAPIV3Schema`, schema)),
        ...objectsAt(version, 'additionalPrinterColumns').flatMap((column, at) =>
          validateColumn(`${path}.additionalPrinterColumns[${at}]`, column),
        ),
      ];
    }),
    ...(stored === 1
      ? []
      : [
          invalid(
            'spec.versions',
            versions.map((version) => version['name']),
            'must have exactly one version marked as storage version',
          ),
        ]),
  ];
}

const columnTypes = ['boolean', 'date', 'integer', 'number', 'string'];

function validateColumn(path: string, column: Json): FieldError[] {
  const [name, type, jsonPath] = ['name', 'type', 'jsonPath'].map((field) => stringAt(column, field) ?? '');
  return [
    ...(name === '' ? [required(`${path}.name`)] : []),
    ...(type === ''
      ? [required(`${path}.type`)]
      : columnTypes.includes(type ?? '')
        ? []
        : [notSupported(`${path}.type`, type, columnTypes)]),
    ...(jsonPath === '' ? [required(`${path}.jsonPath`)] : []),
  ];
}

function validateConversion(conversion: Json | undefined): FieldError[] {
  const strategy = conversion?.['strategy'] ?? 'None';
  // The lab has no conversion webhooks; all versions of a kind have one shape.
  return strategy === 'None' ? [] : [notSupported('spec.conversion.strategy', strategy, ['None'])];
}

function validateCrdUpdate(spec: Json | undefined, old: Json): FieldError[] {
  const before = objectAt(old, 'spec');
  const established = objectsAt(objectAt(old, 'status'), 'conditions').some(
    (condition) => condition['type'] === 'Established' && condition['status'] === 'True',
  );
  const [names, oldNames] = [objectAt(spec, 'names'), objectAt(before, 'names')];
  const fixed = (path: string, value: unknown, previous: unknown): FieldError[] =>
    value === previous ? [] : [invalid(path, value, immutable)];
  const versions = new Set(objectsAt(spec, 'versions').map((version) => version['name']));
  return [
    ...fixed('spec.group', spec?.['group'], before?.['group']),
    ...fixed('spec.names.plural', names?.['plural'], oldNames?.['plural']),
    ...(established
      ? [...fixed('spec.scope', spec?.['scope'], before?.['scope']), ...fixed('spec.names.kind', names?.['kind'], oldNames?.['kind'])]
      : []),
    ...stringsAt(objectAt(old, 'status'), 'storedVersions').flatMap((version, index) =>
      versions.has(version)
        ? []
        : [
            invalid(
              `status.storedVersions[${index}]`,
              version,
              `missing from spec.versions; ${version} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in ${version} and removes ${version} from status.storedVersions`,
            ),
          ],
    ),
  ];
}
