import { existsSync } from 'node:fs';

import { aborted, createLogger, IsthmusError, runUntilStopped } from '../core/index.ts';

const usage = `usage: isthmus ztunnel [--gateway]

The node proxy. It is configured by environment variables, with upstream's names: XDS_ADDRESS, CA_ADDRESS, CLUSTER_ID,
NETWORK, NODE_NAME, PROXY_MODE, LOCAL_XDS_PATH and others.

  --gateway   the east-west gateway instead: passes port 15012 on to ISTHMUS_PEERING_ADDRESS
              (default isthmus-peering.istio-system.svc:15012)
`;

/** `isthmus ztunnel`: the node proxy, or the gateway of a cluster. */
export async function run(args: string[]): Promise<void> {
  const [option, ...rest] = args;
  if (option === '--help' || option === '-h') {
    process.stdout.write(usage);
    return;
  }
  if (rest.length > 0 || (option !== undefined && option !== '--gateway' && option !== 'proxy')) {
    throw new IsthmusError('ISTHMUS_USAGE', `unknown argument "${args.join(' ')}"`, { hint: 'isthmus ztunnel --help tells more' });
  }
  if (option === '--gateway') {
    await runGateway();
    return;
  }
  const { configFromEnvironment, runZtunnel } = await import('../ztunnel/index.ts');
  await runZtunnel(configFromEnvironment());
}

async function runGateway(): Promise<void> {
  const { startGateway } = await import('../ztunnel/index.ts');
  const log = createLogger('gateway');
  const peeringAddress = parseAddress(process.env['ISTHMUS_PEERING_ADDRESS'] ?? 'isthmus-peering.istio-system.svc:15012');
  await runUntilStopped(log, async (signal) => {
    const gateway = await startGateway({
      peeringAddress,
      ports: { control: 15012, hbone: 15008, readiness: 15021, stats: 15020 },
      host: existsSync('/proc/net/if_inet6') ? '::' : '0.0.0.0',
      log,
      drainDeadlineMs: 5_000,
    });
    await aborted(signal);
    await gateway.drain();
  });
}

function parseAddress(text: string): { host: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
  if (match === null) throw new IsthmusError('ISTHMUS_CONFIG_INVALID', `ISTHMUS_PEERING_ADDRESS: "${text}" is not host:port`);
  return { host: match[1] ?? match[2] ?? '', port: Number(match[3]) };
}
