import { isIP, isIPv4, isIPv6 } from 'node:net';

const goDuration = /^[-+]?(\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)((\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h))*$/;

/** The formats of strings that a server checks; other formats are accepted as they are. */
const checks: Readonly<Record<string, (value: string) => boolean>> = {
  ipv4: isIPv4,
  ipv6: isIPv6,
  ip: (value) => isIP(value) !== 0,
  cidr: isCidr,
  'date-time': (value) => /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/.test(value) && !Number.isNaN(Date.parse(value)),
  date: (value) => /^\d{4}-\d\d-\d\d$/.test(value) && !Number.isNaN(Date.parse(value)),
  duration: (value) => value === '0' || goDuration.test(value),
  byte: (value) => /^[A-Za-z0-9+/]*={0,2}$/.test(value) && value.length % 4 === 0,
  uuid: (value) => /^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$/i.test(value),
  uri: isUri,
  hostname: (value) => /^([a-zA-Z0-9]([-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?)(\.[a-zA-Z0-9]([-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?)*$/.test(value),
};

export function matchesFormat(format: string, value: string): boolean {
  return checks[format]?.(value) ?? true;
}

export function isCidr(value: string): boolean {
  const [address = '', prefix = '', ...rest] = value.split('/');
  const bits = isIPv4(address) ? 32 : isIPv6(address) ? 128 : -1;
  return rest.length === 0 && /^(0|[1-9]\d*)$/.test(prefix) && Number(prefix) <= bits;
}

/** An absolute URI or a path, as Go's url.ParseRequestURI takes it. */
export function isUri(value: string): boolean {
  if (value.startsWith('/')) return !/[\s]/.test(value);
  return /^[a-zA-Z][a-zA-Z0-9+.-]*:.+/.test(value) && !/\s/.test(value);
}
