import { equalJson, objectAt, objectsAt, stringAt, stringsAt, type Json } from '../json.ts';
import type { FieldError } from '../types.ts';
import { forbidden, invalid, notSupported, required } from './errors.ts';
import { subdomainMessages } from './names.ts';

const rbacGroup = 'rbac.authorization.k8s.io';

export function validateRole(role: Json, namespaced: boolean): FieldError[] {
  return objectsAt(role, 'rules').flatMap((rule, index) => validateRule(`rules[${index}]`, rule, namespaced));
}

function validateRule(path: string, rule: Json, namespaced: boolean): FieldError[] {
  const urls = stringsAt(rule, 'nonResourceURLs');
  const [groups, resources] = [stringsAt(rule, 'apiGroups'), stringsAt(rule, 'resources')];
  const errors = stringsAt(rule, 'verbs').length === 0 ? [required(`${path}.verbs`, 'verbs must contain at least one value')] : [];
  if (urls.length > 0) {
    if (namespaced) errors.push(invalid(`${path}.nonResourceURLs`, urls, 'namespaced rules cannot apply to non-resource URLs'));
    if (groups.length > 0 || resources.length > 0) {
      errors.push(invalid(`${path}.nonResourceURLs`, urls, 'rules cannot apply to both regular resources and non-resource URLs'));
    }
    return errors;
  }
  if (groups.length === 0) errors.push(required(`${path}.apiGroups`, 'resource rules must supply at least one api group'));
  if (resources.length === 0) errors.push(required(`${path}.resources`, 'resource rules must supply at least one resource'));
  return errors;
}

export function validateBinding(binding: Json, namespaced: boolean): FieldError[] {
  const role = objectAt(binding, 'roleRef');
  const [group, kind, name] = [stringAt(role, 'apiGroup') ?? '', stringAt(role, 'kind') ?? '', stringAt(role, 'name') ?? ''];
  const kinds = namespaced ? ['ClusterRole', 'Role'] : ['ClusterRole'];
  return [
    ...(group === rbacGroup ? [] : [notSupported('roleRef.apiGroup', group, [rbacGroup])]),
    ...(kinds.includes(kind) ? [] : [notSupported('roleRef.kind', kind, kinds)]),
    ...(name === '' ? [required('roleRef.name')] : []),
    ...objectsAt(binding, 'subjects').flatMap((subject, index) => validateSubject(`subjects[${index}]`, subject)),
  ];
}

function validateSubject(path: string, subject: Json): FieldError[] {
  const [kind, name, namespace, group] = ['kind', 'name', 'namespace', 'apiGroup'].map((field) => stringAt(subject, field) ?? '');
  const errors = name === '' ? [required(`${path}.name`)] : [];
  switch (kind) {
    case 'ServiceAccount':
      if (name !== undefined && name !== '')
        errors.push(...subdomainMessages(name).map((message) => invalid(`${path}.name`, name, message)));
      if (group !== '') errors.push(notSupported(`${path}.apiGroup`, group, ['']));
      if (namespace === '') errors.push(required(`${path}.namespace`));
      return errors;
    case 'User':
    case 'Group':
      if (group !== rbacGroup) errors.push(notSupported(`${path}.apiGroup`, group, [rbacGroup]));
      if (namespace !== '') errors.push(forbidden(`${path}.namespace`, 'may not be set on a User or Group'));
      return errors;
    default:
      return [...errors, notSupported(`${path}.kind`, kind, ['Group', 'ServiceAccount', 'User'])];
  }
}

export function validateBindingUpdate(binding: Json, old: Json): FieldError[] {
  return equalJson(binding['roleRef'], old['roleRef']) ? [] : [invalid('roleRef', binding['roleRef'], 'cannot change roleRef')];
}
