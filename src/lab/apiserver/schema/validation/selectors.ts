import { objectAt, objectsAt, stringAt, stringMapAt, stringsAt, type Json } from '../json.ts';
import type { FieldError } from '../types.ts';
import { forbidden, invalid, required } from './errors.ts';
import { validateLabels } from './meta.ts';
import { labelValueMessages, qualifiedNameMessages } from './names.ts';

/** metav1.LabelSelector. */
export function validateLabelSelector(path: string, selector: Json | undefined): FieldError[] {
  return [
    ...validateLabels(stringMapAt(selector, 'matchLabels'), `${path}.matchLabels`),
    ...objectsAt(selector, 'matchExpressions').flatMap((expression, index) =>
      validateExpression(`${path}.matchExpressions[${index}]`, expression),
    ),
  ];
}

function validateExpression(path: string, expression: Json): FieldError[] {
  const values = stringsAt(expression, 'values');
  const key = stringAt(expression, 'key') ?? '';
  const errors = qualifiedNameMessages(key).map((message) => invalid(`${path}.key`, key, message));
  switch (expression['operator']) {
    case 'In':
    case 'NotIn':
      if (values.length === 0) errors.push(required(`${path}.values`, "must be specified when `operator` is 'In' or 'NotIn'"));
      break;
    case 'Exists':
    case 'DoesNotExist':
      if (values.length > 0) errors.push(forbidden(`${path}.values`, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
      break;
    default:
      errors.push(invalid(`${path}.operator`, expression['operator'], 'not a valid selector operator'));
  }
  return [
    ...errors,
    ...values.flatMap((value, index) => labelValueMessages(value).map((message) => invalid(`${path}.values[${index}]`, value, message))),
  ];
}

/** Whether labels satisfy a selector; one that asks for nothing matches everything. */
export function selectorMatches(selector: Json | undefined, labels: Readonly<Record<string, string>>): boolean {
  return (
    Object.entries(stringMapAt(selector, 'matchLabels')).every(([key, value]) => labels[key] === value) &&
    objectsAt(selector, 'matchExpressions').every((expression) => {
      const value = labels[stringAt(expression, 'key') ?? ''];
      const values = stringsAt(expression, 'values');
      switch (expression['operator']) {
        case 'In':
          return value !== undefined && values.includes(value);
        case 'NotIn':
          return value === undefined || !values.includes(value);
        case 'Exists':
          return value !== undefined;
        default:
          return value === undefined;
      }
    })
  );
}

/** The labels that a pod template gives. */
export function templateLabels(template: Json | undefined): Record<string, string> {
  return stringMapAt(objectAt(template, 'metadata'), 'labels');
}
