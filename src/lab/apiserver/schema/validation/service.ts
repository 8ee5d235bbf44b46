import { isIP } from 'node:net';

import { equalJson, numberAt, objectAt, objectsAt, stringAt, stringMapAt, stringsAt, type Json } from '../json.ts';
import type { FieldError } from '../types.ts';
import { duplicate, invalid, notSupported, required, tooMany } from './errors.ts';
import { validateLabels } from './meta.ts';
import { labelMessages, subdomainMessages } from './names.ts';
import { validatePort, validatePortOrName } from './numbers.ts';

const types = ['ClusterIP', 'ExternalName', 'LoadBalancer', 'NodePort'];
const affinities = ['ClientIP', 'None'];
const protocols = ['SCTP', 'TCP', 'UDP'];

export const addressMessage = 'must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)';

export function validateService(service: Json): FieldError[] {
  const spec = objectAt(service, 'spec');
  const type = stringAt(spec, 'type') ?? '';
  const headless = stringAt(spec, 'clusterIP') === 'None';
  const ports = objectsAt(spec, 'ports');
  const affinity = stringAt(spec, 'sessionAffinity') ?? '';
  return [
    ...(ports.length === 0 && !headless && type !== 'ExternalName' ? [required('spec.ports')] : []),
    ...(type === 'ExternalName' ? validateExternalName(spec) : []),
    ...ports.flatMap((port, index) => validateServicePort(port, index, ports)),
    ...validateLabels(stringMapAt(spec, 'selector'), 'spec.selector'),
    ...(affinities.includes(affinity)
      ? []
      : affinity === ''
        ? [required('spec.sessionAffinity')]
        : [notSupported('spec.sessionAffinity', affinity, affinities)]),
    ...(type === '' ? [required('spec.type')] : types.includes(type) ? [] : [notSupported('spec.type', type, types)]),
    ...clusterAddresses(spec).flatMap((address, index) =>
      address === '' || address === 'None' || isIP(address) !== 0 ? [] : [invalid(`spec.clusterIPs[${index}]`, address, addressMessage)],
    ),
    ...stringsAt(spec, 'externalIPs').flatMap((address, index) =>
      isIP(address) === 0 ? [invalid(`spec.externalIPs[${index}]`, address, addressMessage)] : [],
    ),
  ];
}

function validateExternalName(spec: Json | undefined): FieldError[] {
  const name = (stringAt(spec, 'externalName') ?? '').replace(/\.$/, '');
  if (name === '') return [required('spec.externalName')];
  return subdomainMessages(name).map((message) => invalid('spec.externalName', name, message));
}

function validateServicePort(port: Json, index: number, all: readonly Json[]): FieldError[] {
  const path = `spec.ports[${index}]`;
  const earlier = all.slice(0, index);
  const { name = '', port: number = 0, protocol, targetPort, nodePort } = port;
  const errors: FieldError[] = [];
  if (typeof name === 'string' && name !== '') {
    errors.push(...labelMessages(name).map((message) => invalid(`${path}.name`, name, message)));
    if (earlier.some((other) => other['name'] === name)) errors.push(duplicate(`${path}.name`, name));
  } else if (all.length > 1) {
    errors.push(required(`${path}.name`));
  }
  errors.push(...validatePort(`${path}.port`, number));
  if (typeof protocol !== 'string' || protocol === '') errors.push(required(`${path}.protocol`));
  else if (!protocols.includes(protocol)) errors.push(notSupported(`${path}.protocol`, protocol, protocols));
  errors.push(...validatePortOrName(`${path}.targetPort`, targetPort ?? 0));
  if (nodePort !== undefined && nodePort !== 0) errors.push(...validatePort(`${path}.nodePort`, nodePort));
  if (earlier.some((other) => other['port'] === number && other['protocol'] === protocol)) {
    errors.push(duplicate(path, { port: number, protocol }));
  }
  return errors;
}

/** The addresses that the service asks for: clients may set the one field or the list. */
function clusterAddresses(spec: Json | undefined): string[] {
  const list = stringsAt(spec, 'clusterIPs');
  const one = stringAt(spec, 'clusterIP') ?? '';
  return list.length > 0 ? list : one === '' ? [] : [one];
}

export function validateServiceUpdate(service: Json, old: Json): FieldError[] {
  const [spec, before] = [objectAt(service, 'spec'), objectAt(old, 'spec')];
  const previous = clusterAddresses(before);
  // A change of the one field alone means the first of the list.
  const listed = stringsAt(spec, 'clusterIPs');
  const one = stringAt(spec, 'clusterIP') ?? '';
  const next = equalJson(listed, previous) && one !== '' && one !== previous[0] ? [one, ...listed.slice(1)] : clusterAddresses(spec);
  const fixed = stringAt(before, 'type') !== 'ExternalName' && stringAt(spec, 'type') !== 'ExternalName' && previous.length > 0;
  return fixed && next[0] !== previous[0] ? [invalid('spec.clusterIPs[0]', next, 'may not change once set')] : [];
}

const addressTypes = ['FQDN', 'IPv4', 'IPv6'];
const maxEndpoints = 1000;
const maxPorts = 20_000;

export function validateEndpointSlice(slice: Json): FieldError[] {
  const type = stringAt(slice, 'addressType') ?? '';
  const endpoints = objectsAt(slice, 'endpoints');
  const ports = objectsAt(slice, 'ports');
  const errors =
    type === '' ? [required('addressType')] : addressTypes.includes(type) ? [] : [notSupported('addressType', type, addressTypes)];
  if (endpoints.length > maxEndpoints) {
    errors.push(tooMany('endpoints', endpoints.length, maxEndpoints));
  }
  if (ports.length > maxPorts) {
    errors.push(tooMany('ports', ports.length, maxPorts));
  }
  return [
    ...errors,
    ...endpoints.flatMap((endpoint, index) => validateEndpoint(`endpoints[${index}]`, endpoint, type)),
    ...ports.flatMap((port, index) => validateEndpointPort(`ports[${index}]`, port, ports.slice(0, index))),
  ];
}

function validateEndpoint(path: string, endpoint: Json, type: string): FieldError[] {
  const addresses = stringsAt(endpoint, 'addresses');
  if (addresses.length === 0) return [required(`${path}.addresses`, 'must contain at least 1 address')];
  return addresses.flatMap((address, index) => {
    const at = `${path}.addresses[${index}]`;
    if (type === 'FQDN') return subdomainMessages(address).map((message) => invalid(at, address, message));
    const version = isIP(address);
    if (version === 0) return [invalid(at, address, addressMessage)];
    return `IPv${version}` === type ? [] : [invalid(at, address, `must be an ${type} address`)];
  });
}

function validateEndpointPort(path: string, port: Json, earlier: readonly Json[]): FieldError[] {
  const name = stringAt(port, 'name') ?? '';
  const protocol = stringAt(port, 'protocol') ?? '';
  const errors = name === '' ? [] : labelMessages(name).map((message) => invalid(`${path}.name`, name, message));
  if (earlier.some((other) => (stringAt(other, 'name') ?? '') === name)) errors.push(duplicate(`${path}.name`, name));
  if (!protocols.includes(protocol)) errors.push(notSupported(`${path}.protocol`, protocol, protocols));
  const number = numberAt(port, 'port');
  return number === undefined ? errors : [...errors, ...validatePort(`${path}.port`, number)];
}
