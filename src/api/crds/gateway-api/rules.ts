import { rule, type Rule } from '../schema.ts';

export const dnsNamePattern = String.raw`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`;
/** A DNS name, perhaps with a wildcard for its first label. */
export const hostnamePattern = String.raw`^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`;
/** The key of a label or annotation. */
export const qualifiedNamePattern = String.raw`^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9]$`;
export const grpcServicePattern = String.raw`^(?i)\.?[a-z_][a-z_0-9]*(\.[a-z_][a-z_0-9]*)*$`;
export const grpcMethodPattern = '^[A-Za-z_][A-Za-z_0-9]*$';
/** The characters of RFC 3986's path segments. */
export const pathPattern = "^(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|[%][0-9a-fA-F]{2})+$";

/** CEL for "two references name the same object". */
type Same = (a: string, b: string) => string;

const optional = (object: string, field: string): string => `(has(${object}.${field}) ? ${object}.${field} : '')`;

export const sameTarget: Same = (a, b) => `${a}.group == ${b}.group && ${a}.kind == ${b}.kind && ${a}.name == ${b}.name`;

/** `namespace` is a reserved word of CEL, hence its spelling. */
export const sameParent: Same = (a, b) => `${sameTarget(a, b)} && ${optional(a, '__namespace__')} == ${optional(b, '__namespace__')}`;

/** References to one object either all name a section or none does. */
export const sectionsSpecified = (message: string, same: Same): Rule =>
  rule(
    message,
    `self.all(a, self.all(b, !(${same('a', 'b')}) || (${optional('a', 'sectionName')} == '') == (${optional('b', 'sectionName')} == '')))`,
  );

/** No two references name the same section of one object. */
export const sectionsUnique = (message: string, same: Same): Rule =>
  rule(message, `self.all(a, self.exists_one(b, ${same('a', 'b')} && ${optional('a', 'sectionName')} == ${optional('b', 'sectionName')}))`);

/** A filter has the field that its type names, and no other. */
export const filterUnion = (types: Readonly<Record<string, string>>): Rule[] =>
  Object.entries(types).flatMap(([field, type]) => [
    rule(`filter.${field} must be nil if the filter.type is not ${type}`, `!has(self.${field}) || self.type == '${type}'`),
    rule(`filter.${field} must be specified for ${type} filter.type`, `self.type != '${type}' || has(self.${field})`),
  ]);

export const notRepeated = (...types: readonly string[]): Rule[] =>
  types.map((type) => rule(`${type} filter cannot be repeated`, `self.filter(item, item.type == '${type}').size() <= 1`));

/** CEL: one of the filters replaces the matched prefix of the path; `action` is the filter's field. */
export const replacesPrefix = (filters: string, action: 'requestRedirect' | 'urlRewrite'): string => {
  const path = `filter.${action}.path`;
  return `${filters}.exists_one(filter, has(filter.${action}) && has(${path}) && ${path}.type == 'ReplacePrefixMatch' && has(${path}.replacePrefixMatch))`;
};

/** A prefix can only be replaced where exactly one prefix is matched. */
export const prefixReplacementNeedsPrefix = (message: string, replaces: string): Rule =>
  rule(message, `!(${replaces}) || (size(self.matches) == 1 && has(self.matches[0].path) && self.matches[0].path.type == 'PathPrefix')`);
