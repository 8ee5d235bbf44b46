import { lookup } from 'node:dns/promises';
import { isIP, type Socket } from 'node:net';

import { connectTcp } from '../linux/index.ts';

/**
 * Connects to a name or an address from the process's own namespace, trying the addresses of a name one after the other.
 * The socket is paused and may be half open. Rejects with the last failure.
 */
export async function connect(options: { readonly host: string; readonly port: number; readonly signal: AbortSignal }): Promise<Socket> {
  const { host, port, signal } = options;
  const addresses = isIP(host) === 0 ? (await lookup(host, { all: true })).map(({ address }) => address) : [host];
  let failure: unknown = new Error(`${host} has no address`);
  for (const address of addresses) {
    try {
      return await connectTcp({ host: address, port, signal, allowHalfOpen: true, timeout: 5_000 });
    } catch (error) {
      signal.throwIfAborted();
      failure = error;
    }
  }
  throw failure;
}
