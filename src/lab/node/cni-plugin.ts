import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import { once } from 'node:events';
import path from 'node:path';
import { text } from 'node:stream/consumers';

import { describeError, IsthmusError, type Logger } from '../../core/index.ts';
import { NetworkNamespace, runCommand } from '../../linux/index.ts';
import type { ClusterPlan } from '../network/plan.ts';
import { AddressPool } from './address-pool.ts';
import { cniPaths, type CniResult } from './cni.ts';

/**
 * The lab's own CNI plugin `isthmus-lab`: a point-to-point link between pod and node, as kind's, and an address of the
 * node's pod range. The program in /opt/cni/bin is a shell script that hands the call to the node agent over a unix
 * socket: a Node process for every pod would cost more than all the rest of its start.
 */

const socket = '/run/isthmus/cni.sock';
const supported = ['0.3.0', '0.3.1', '0.4.0', '1.0.0'];

export interface CniPluginOptions {
  readonly plan: ClusterPlan;
  readonly log: Logger;
}

/** Serves the plugin's calls until `signal` is aborted, and installs script and network configuration once it does. */
export async function serveCniPlugin({ plan, log }: CniPluginOptions, signal: AbortSignal): Promise<void> {
  const pool = new AddressPool(plan.nodePodCidr, '/var/lib/cni/networks/lab');
  mkdirSync(path.dirname(socket), { recursive: true });
  rmSync(socket, { force: true });
  const server = createServer((request, response) => {
    void answer(request, plan, pool).then(
      (result) => response.writeHead(200, { 'Content-Type': 'application/json' }).end(result === undefined ? '' : JSON.stringify(result)),
      (error: unknown) => {
        log.warn({ error: describeError(error) }, 'CNI call failed');
        const msg = error instanceof IsthmusError ? error.message : describeError(error);
        response.writeHead(500).end(JSON.stringify({ cniVersion: '1.0.0', code: 999, msg }));
      },
    );
  });
  server.listen(socket);
  await once(server, 'listening');
  chmodSync(socket, 0o600);
  signal.addEventListener('abort', () => void server.close(), { once: true });
  install();
}

function install(): void {
  mkdirSync(cniPaths.plugins, { recursive: true });
  mkdirSync(cniPaths.config, { recursive: true });
  writeFileSync(path.join(cniPaths.plugins, 'isthmus-lab'), script, { mode: 0o755 });
  // After a restart of the node agent others may have chained themselves in: their file stays.
  const config = { cniVersion: '1.0.0', name: 'lab', plugins: [{ type: 'isthmus-lab' }] };
  try {
    writeFileSync(path.join(cniPaths.config, '10-lab.conflist'), `${JSON.stringify(config, null, 2)}\n`, { flag: 'wx' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}

const script = `#!/bin/sh
# CNI plugin isthmus-lab: the node agent does the work.
answer=$(curl --silent --show-error --max-time 30 --unix-socket ${socket} --write-out '\\n%{http_code}' \\
  -H "CNI-Command: $CNI_COMMAND" -H "CNI-ContainerID: $CNI_CONTAINERID" -H "CNI-Netns: $CNI_NETNS" -H "CNI-Ifname: $CNI_IFNAME" \\
  --data-binary @- http://node-agent/ 2>&1)
status=\${answer##*
}
if [ "$status" = 200 ] || [ "$status" = 500 ]; then
  printf '%s' "\${answer%
*}"
  [ "$status" = 200 ]
else
  printf '{"cniVersion":"1.0.0","code":11,"msg":"the node agent does not answer"}'
  exit 1
fi
`;

interface Call {
  readonly containerId: string;
  readonly netns: string;
  readonly interfaceName: string;
}

async function answer(request: IncomingMessage, plan: ClusterPlan, pool: AddressPool): Promise<object | undefined> {
  const config = JSON.parse(await text(request)) as { readonly cniVersion?: string };
  const header = (name: string): string => String(request.headers[name] ?? '');
  const call: Call = { containerId: header('cni-containerid'), netns: header('cni-netns'), interfaceName: header('cni-ifname') };
  const command = header('cni-command');
  const cniVersion = config.cniVersion ?? '1.0.0';
  switch (command) {
    case 'ADD':
      return { ...(await add(call, plan, pool)), cniVersion };
    case 'DEL':
      await remove(call, pool);
      return undefined;
    case 'CHECK':
      if (pool.find(call.containerId) === undefined) throw new IsthmusError('LAB_CNI', `container ${call.containerId} has no address`);
      return undefined;
    case 'VERSION':
      return { cniVersion: '1.0.0', supportedVersions: supported };
    default:
      throw new IsthmusError('LAB_CNI', `the CNI command "${command}" is unknown`);
  }
}

async function add({ containerId, netns, interfaceName }: Call, plan: ClusterPlan, pool: AddressPool): Promise<CniResult> {
  const address = pool.allocate(containerId);
  const prefix = plan.nodePodCidr.split('/')[1] ?? '24';
  const gateway = plan.podGateway;
  const veth = vethName(containerId);
  // As usual in CNI: the address decides, so that a neighbour entry stays right when an address is used again.
  const mac = `0a:58:${address
    .split('.')
    .map((part) => Number(part).toString(16).padStart(2, '0'))
    .join(':')}`;
  using namespace = NetworkNamespace.open(netns);
  try {
    // Made here and not from inside of the pod: /proc/PID/ns/net, by which the pod's side would have to name this one, shows
    // where our thread happens to be.
    await runCommand('ip', ['-batch', '-'], {
      input: [
        `link add ${veth} type veth peer name ${interfaceName} address ${mac} netns ${namespaceName(netns)}`,
        `addr add ${gateway}/32 dev ${veth}`,
        `link set ${veth} up`,
        `route add ${address} dev ${veth} scope link`,
      ].join('\n'),
    });
    await runCommand('sh', ['-ec', podScript], {
      namespace,
      input: [
        'link set lo up',
        `addr add ${address}/${prefix} dev ${interfaceName} noprefixroute`,
        `link set ${interfaceName} up`,
        `route add ${gateway} dev ${interfaceName} scope link src ${address}`,
        `route add ${plan.nodePodCidr} via ${gateway} src ${address}`,
        `route add default via ${gateway}`,
      ].join('\n'),
    });
  } catch (error) {
    await remove({ containerId, netns, interfaceName }, pool);
    throw error;
  }
  return {
    interfaces: [{ name: veth }, { name: interfaceName, mac, sandbox: netns }],
    ips: [{ address: `${address}/${prefix}`, gateway, interface: 1 }],
    routes: [{ dst: '0.0.0.0/0', gw: gateway }],
    dns: {},
  };
}

/**
 * A new namespace copies settings of the host's, which may be anything: pods of the lab have the kernel's defaults, and
 * ports below 1024 are free to everyone in them, as with containerd.
 */
const podScript = `
cd /proc/sys/net/ipv4
for kind in all default; do echo 0 > conf/$kind/rp_filter; done
echo 0 > ip_unprivileged_port_start
exec ip -batch -
`;

/** The name by which ip(8) knows a namespace: that of its file in /run/netns. */
function namespaceName(netns: string): string {
  const folder = path.dirname(netns);
  if (folder !== '/run/netns' && folder !== '/var/run/netns') {
    throw new IsthmusError('LAB_CNI', `the network namespace ${netns} is not in /run/netns`);
  }
  return path.basename(netns);
}

/** Succeeds as well when there is nothing left to remove, as the specification asks. */
async function remove({ containerId }: Call, pool: AddressPool): Promise<void> {
  await runCommand('ip', ['link', 'delete', vethName(containerId)], { accept: [0, 1] });
  pool.release(containerId);
}

function vethName(containerId: string): string {
  return `veth${createHash('sha256').update(containerId).digest('hex').slice(0, 8)}`;
}
