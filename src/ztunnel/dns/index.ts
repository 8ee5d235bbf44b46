/** The DNS proxy of a pod: names of the mesh from this proxy's state, all others from the node's name servers. */
import { createLogger, type Logger } from '../../core/index.ts';
import type { PodContext } from '../proxy.ts';
import { Forwarder } from './forward.ts';
import { meshResolver } from './resolver.ts';
import { readResolvConf } from './resolv-conf.ts';
import { startDnsProxy } from './server.ts';

let log: Logger | undefined;

/** The DNS proxy as a part of a pod's proxy. */
export async function startDns({ namespace, state, config, workload }: PodContext): Promise<AsyncDisposable> {
  const mark = config.packetMark;
  return await startDnsProxy({
    namespace,
    mark,
    port: config.ports.dns,
    reusePort: config.reusePort,
    clusterDomain: config.clusterDomain,
    ipv6: config.ipv6,
    resolver: meshResolver(state, workload),
    forwarder: new Forwarder({ namespace, mark, servers: readResolvConf() }),
    log: (log ??= createLogger('dns')),
  });
}

export { type ServiceResolver } from './resolver.ts';
export { startDnsProxy, type DnsProxyOptions } from './server.ts';
