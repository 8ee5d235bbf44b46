import { networkInterfaces } from 'node:os';

import { IsthmusError } from './errors.ts';

/** An address to listen on. */
export interface ListenAddress {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
}

/** `host:port`, or `:port` for every address, as upstream's flags have it. Throws ISTHMUS_USAGE; `flag` names it in the message. */
export function parseListenAddress(text: string, flag: string): ListenAddress {
  const [, host = '', port = ''] = /^(.*):(\d{1,5})$/.exec(text) ?? [];
  if (port === '' || Number(port) > 65535) throw new IsthmusError('ISTHMUS_USAGE', `${flag}: "${text}" is not an address like :15012`);
  return { host: host === '' ? anyHost() : host.replace(/^\[|\]$/g, ''), port: Number(port) };
}

/** Every address, of both families where the host has both: without IPv6 there is no `::` to listen on. */
export function anyHost(): string {
  const hasIpv6 = Object.values(networkInterfaces()).some((all) => all?.some(({ family }) => family === 'IPv6'));
  return hasIpv6 ? '::' : '0.0.0.0';
}
