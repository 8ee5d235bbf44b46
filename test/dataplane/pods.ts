import { mkdirSync } from 'node:fs';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';

import { installRedirection } from '../../src/cni/redirection.ts';
import { listenTcp, NetworkNamespace, runCommand } from '../../src/linux/index.ts';

/** A network namespace on a routed network, like a pod's, redirected by the CNI agent's own rules. */
export interface Pod extends AsyncDisposable {
  readonly namespace: NetworkNamespace;
  readonly address: string;
}

let made = 0;

/**
 * Makes a pod `10.x.y.2` whose gateway is this process's namespace at `10.x.y.1`. Only for tests that run in a network
 * namespace of their own (scripts/test.sh unit).
 */
export async function makePod(options: { readonly address: string; readonly redirect: boolean; readonly dns?: boolean }): Promise<Pod> {
  const { address, redirect, dns = false } = options;
  const gateway = address.replace(/\d+$/, '1');
  // Test files run side by side in one namespace.
  const name = `pod-${process.pid}-${made++}`;
  const link = `v${process.pid}-${made}`;
  mkdirSync('/run/netns', { recursive: true });
  const namespace = NetworkNamespace.create();
  namespace.bindTo(`/run/netns/${name}`);
  const inPod = (...args: string[]): Promise<string> => runCommand('ip', args, { namespace });
  await runCommand('sysctl', ['-qw', 'net.ipv4.ip_forward=1']);
  await runCommand('ip', ['link', 'add', link, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name]);
  await runCommand('ip', ['addr', 'add', `${gateway}/24`, 'dev', link]);
  await runCommand('ip', ['link', 'set', link, 'up']);
  await inPod('link', 'set', 'lo', 'up');
  await inPod('addr', 'add', `${address}/24`, 'dev', 'eth0');
  await inPod('link', 'set', 'eth0', 'up');
  await inPod('route', 'add', 'default', 'via', gateway);
  if (redirect) {
    await installRedirection(namespace, {
      dns,
      inbound: true,
      ipv6: false,
      probeAddresses: { ipv4: '169.254.7.127', ipv6: 'fd16:9254:7127:1337:ffff:ffff:ffff:ffff' },
      virtualInterfaces: [],
    });
  }
  return {
    namespace,
    address,
    [Symbol.asyncDispose]: async () => {
      await runCommand('ip', ['link', 'del', link]);
      namespace[Symbol.dispose]();
    },
  };
}

/** An HTTP application in a pod that answers with its version and the address of its caller. */
export async function serveHello(pod: Pod, port: number): Promise<AsyncDisposable> {
  const server = http.createServer((request, response) => {
    response.setHeader('connection', 'close');
    response.end(`Hello version: v2 from ${request.socket.remoteAddress ?? ''}\n`);
  });
  server.listen({ fd: listenTcp({ namespace: pod.namespace, host: '0.0.0.0', port }) });
  await once(server, 'listening');
  return {
    [Symbol.asyncDispose]: () => {
      server.close();
      server.closeAllConnections();
      return Promise.resolve();
    },
  };
}

/** An application in a pod that sends back what it gets. */
export async function serveEcho(pod: Pod, port: number): Promise<AsyncDisposable> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined).once('close', () => sockets.delete(socket));
    socket.pipe(socket);
  });
  server.listen({ fd: listenTcp({ namespace: pod.namespace, host: '0.0.0.0', port }) });
  await once(server, 'listening');
  return {
    [Symbol.asyncDispose]: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
      return Promise.resolve();
    },
  };
}

/** Runs curl in a pod (or outside any, without one); what it printed, and its exit code. */
export async function curl(namespace: NetworkNamespace, ...args: string[]): Promise<{ readonly output: string; readonly exit: number }> {
  const line = ['curl', '-sS', '-m', '5', ...args, '-w', '\\nexit %{exitcode}'];
  const output = await runCommand('sh', ['-c', '"$@" 2>&1 || true', 'sh', ...line], { namespace });
  return { output: output.replace(/\nexit \d+$/, ''), exit: Number(/exit (\d+)$/.exec(output)?.[1] ?? -1) };
}
