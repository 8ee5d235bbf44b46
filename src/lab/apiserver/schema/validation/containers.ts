import { objectAt, objectsAt, stringAt, stringMapAt, type Json } from '../json.ts';
import { compareQuantities } from '../quantity.ts';
import type { FieldError } from '../types.ts';
import { duplicate, forbidden, invalid, notFound, notSupported, required } from './errors.ts';
import { environmentNameMessages, labelMessages, portNameMessages } from './names.ts';
import { validateNonNegative, validatePort, validatePortOrName } from './numbers.ts';

const protocols = ['SCTP', 'TCP', 'UDP'];
const pullPolicies = ['Always', 'IfNotPresent', 'Never'];
const messagePolicies = ['FallbackToLogsOnError', 'File'];

/** The containers of a pod's spec at `path`; `volumes`: the names of its volumes. */
export function validateContainers(path: string, spec: Json | undefined, volumes: ReadonlySet<string>): FieldError[] {
  const containers = objectsAt(spec, 'containers');
  const inits = objectsAt(spec, 'initContainers');
  const hostNetwork = spec?.['hostNetwork'] === true;
  const names = [...containers, ...inits].map((container) => container['name']);
  const each = (list: readonly Json[], field: string, offset: number): FieldError[] =>
    list.flatMap((container, index) => {
      const at = `${path}.${field}[${index}]`;
      const repeated = names.slice(0, offset + index).includes(container['name']);
      return [...validateContainer(at, container, volumes, hostNetwork), ...(repeated ? [duplicate(`${at}.name`, container['name'])] : [])];
    });
  return [
    ...(containers.length === 0 ? [required(`${path}.containers`)] : each(containers, 'containers', 0)),
    ...each(inits, 'initContainers', containers.length),
  ];
}

function validateContainer(path: string, container: Json, volumes: ReadonlySet<string>, hostNetwork: boolean): FieldError[] {
  const { name = '', image = '', imagePullPolicy, terminationMessagePolicy } = container;
  const errors: FieldError[] = [];
  if (typeof name === 'string' && name !== '') errors.push(...labelMessages(name).map((message) => invalid(`${path}.name`, name, message)));
  else errors.push(required(`${path}.name`));
  if (typeof image !== 'string' || image === '') errors.push(required(`${path}.image`));
  else if (image !== image.trim()) errors.push(invalid(`${path}.image`, image, 'must not have leading or trailing whitespace'));
  if (typeof imagePullPolicy === 'string' && !pullPolicies.includes(imagePullPolicy)) {
    errors.push(notSupported(`${path}.imagePullPolicy`, imagePullPolicy, pullPolicies));
  }
  if (typeof terminationMessagePolicy === 'string' && !messagePolicies.includes(terminationMessagePolicy)) {
    errors.push(notSupported(`${path}.terminationMessagePolicy`, terminationMessagePolicy, messagePolicies));
  }
  return [
    ...errors,
    ...validatePorts(`${path}.ports`, objectsAt(container, 'ports'), hostNetwork),
    ...objectsAt(container, 'env').flatMap((variable, index) => validateVariable(`${path}.env[${index}]`, variable)),
    ...validateMounts(`${path}.volumeMounts`, objectsAt(container, 'volumeMounts'), volumes),
    ...['livenessProbe', 'readinessProbe', 'startupProbe'].flatMap((probe) =>
      validateProbe(`${path}.${probe}`, probe, objectAt(container, probe)),
    ),
    ...validateResources(`${path}.resources`, objectAt(container, 'resources')),
  ];
}

function validatePorts(path: string, ports: readonly Json[], hostNetwork: boolean): FieldError[] {
  return ports.flatMap((port, index) => {
    const at = `${path}[${index}]`;
    const { name, containerPort, hostPort } = port;
    const protocol = stringAt(port, 'protocol') ?? '';
    const errors: FieldError[] = [];
    if (typeof name === 'string' && name !== '') {
      errors.push(...portNameMessages(name).map((message) => invalid(`${at}.name`, name, message)));
      if (ports.slice(0, index).some((earlier) => earlier['name'] === name)) errors.push(duplicate(`${at}.name`, name));
    }
    errors.push(
      ...(containerPort === undefined || containerPort === 0
        ? [required(`${at}.containerPort`)]
        : validatePort(`${at}.containerPort`, containerPort)),
    );
    if (hostPort !== undefined && hostPort !== 0) {
      errors.push(...validatePort(`${at}.hostPort`, hostPort));
      if (hostNetwork && hostPort !== containerPort) {
        errors.push(invalid(`${at}.hostPort`, hostPort, 'must match `containerPort` when `hostNetwork` is true'));
      }
    }
    if (protocol === '') errors.push(required(`${at}.protocol`));
    else if (!protocols.includes(protocol)) errors.push(notSupported(`${at}.protocol`, protocol, protocols));
    return errors;
  });
}

function validateVariable(path: string, variable: Json): FieldError[] {
  const name = stringAt(variable, 'name') ?? '';
  const errors =
    name === '' ? [required(`${path}.name`)] : environmentNameMessages(name).map((message) => invalid(`${path}.name`, name, message));
  const from = objectAt(variable, 'valueFrom');
  if (from === undefined) return errors;
  const sources = Object.keys(from).length;
  if (sources === 0)
    errors.push(
      invalid(
        `${path}.valueFrom`,
        '',
        'must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`',
      ),
    );
  else if ((stringAt(variable, 'value') ?? '') !== '')
    errors.push(invalid(`${path}.valueFrom`, '', 'may not be specified when `value` is not empty'));
  if (sources > 1) errors.push(invalid(`${path}.valueFrom`, '', 'may not have more than one field specified at a time'));
  return errors;
}

function validateMounts(path: string, mounts: readonly Json[], volumes: ReadonlySet<string>): FieldError[] {
  return mounts.flatMap((mount, index) => {
    const at = `${path}[${index}]`;
    const { name = '', mountPath = '' } = mount;
    const errors: FieldError[] = [];
    if (name === '') errors.push(required(`${at}.name`));
    else if (typeof name === 'string' && !volumes.has(name)) errors.push(notFound(`${at}.name`, name));
    if (mountPath === '') errors.push(required(`${at}.mountPath`));
    else if (mounts.slice(0, index).some((earlier) => earlier['mountPath'] === mountPath)) {
      errors.push(invalid(`${at}.mountPath`, mountPath, 'must be unique'));
    }
    return errors;
  });
}

const handlers = ['exec', 'httpGet', 'tcpSocket', 'grpc'];

function validateProbe(path: string, kind: string, probe: Json | undefined): FieldError[] {
  if (probe === undefined) return [];
  const chosen = handlers.filter((handler) => probe[handler] !== undefined);
  const errors = chosen.slice(1).map((handler) => forbidden(`${path}.${handler}`, 'may not specify more than 1 handler type'));
  if (chosen.length === 0) errors.push(required(path, 'must specify a handler type'));
  const http = objectAt(probe, 'httpGet');
  if (http !== undefined) {
    if ((stringAt(http, 'path') ?? '') === '') errors.push(required(`${path}.httpGet.path`));
    errors.push(...validatePortOrName(`${path}.httpGet.port`, http['port']));
    const scheme = stringAt(http, 'scheme') ?? '';
    if (scheme !== 'HTTP' && scheme !== 'HTTPS') errors.push(notSupported(`${path}.httpGet.scheme`, scheme, ['HTTP', 'HTTPS']));
  }
  const tcp = objectAt(probe, 'tcpSocket');
  if (tcp !== undefined) errors.push(...validatePortOrName(`${path}.tcpSocket.port`, tcp['port']));
  const exec = objectAt(probe, 'exec');
  if (exec !== undefined && exec['command'] === undefined) errors.push(required(`${path}.exec.command`));
  for (const field of ['initialDelaySeconds', 'timeoutSeconds', 'periodSeconds', 'successThreshold', 'failureThreshold']) {
    errors.push(...validateNonNegative(`${path}.${field}`, probe[field]));
  }
  if (kind !== 'readinessProbe' && (probe['successThreshold'] ?? 1) !== 1) {
    errors.push(invalid(`${path}.successThreshold`, probe['successThreshold'], 'must be 1'));
  }
  return errors;
}

function validateResources(path: string, resources: Json | undefined): FieldError[] {
  const limits = stringMapAt(resources, 'limits');
  const requests = stringMapAt(resources, 'requests');
  const negative = (field: string, amounts: Readonly<Record<string, string>>): FieldError[] =>
    Object.entries(amounts).flatMap(([name, amount]) =>
      compareQuantities(amount, '0') < 0 ? [invalid(`${path}.${field}[${name}]`, amount, 'must be greater than or equal to 0')] : [],
    );
  return [
    ...negative('limits', limits),
    ...negative('requests', requests),
    ...Object.entries(requests).flatMap(([name, amount]) => {
      const limit = limits[name];
      if (limit === undefined || compareQuantities(amount, limit) <= 0) return [];
      return [invalid(`${path}.requests`, amount, `must be less than or equal to ${name} limit of ${limit}`)];
    }),
  ];
}
