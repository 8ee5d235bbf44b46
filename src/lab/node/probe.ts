import http from 'node:http';
import https from 'node:https';
import net from 'node:net';

import type { IContainer, IProbe } from 'kubernetes-models/v1';

import { describeError } from '../../core/index.ts';
import { runInContainer } from './container-command.ts';
import type { ContainerRecord } from './container.ts';

export interface ProbeTarget {
  readonly record: ContainerRecord;
  readonly container: IContainer;
  readonly podIp: string;
}

export type ProbeResult = { readonly ok: true } | { readonly ok: false; readonly message: string };

/** Asks a container once, from the node. Never rejects: what goes wrong is a failed probe. */
export async function probeOnce(probe: IProbe, target: ProbeTarget, signal: AbortSignal): Promise<ProbeResult> {
  const timeoutMs = (probe.timeoutSeconds ?? 1) * 1000;
  const limit = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
  try {
    if (probe.httpGet !== undefined) return await httpProbe(probe.httpGet, target, limit);
    if (probe.tcpSocket !== undefined) return await tcpProbe(probe.tcpSocket, target, limit);
    if (probe.exec !== undefined) return await execProbe(probe.exec.command ?? [], target, timeoutMs, signal);
    return { ok: false, message: 'the lab has no probe of this kind' };
  } catch (error) {
    return { ok: false, message: limit.aborted && !signal.aborted ? `no answer in ${timeoutMs} ms` : describeError(error) };
  }
}

type HttpGet = NonNullable<IProbe['httpGet']>;

async function httpProbe(get: HttpGet, target: ProbeTarget, signal: AbortSignal): Promise<ProbeResult> {
  const secure = get.scheme === 'HTTPS';
  const host = get.host ?? target.podIp;
  const port = portNumber(get.port, target.container);
  const headers = Object.fromEntries((get.httpHeaders ?? []).map(({ name, value }) => [name, value]));
  const options = {
    host,
    port,
    path: get.path ?? '/',
    signal,
    agent: false,
    headers: { 'User-Agent': 'kube-probe/1.36', Accept: '*/*', ...headers },
  };
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  // Like the kubelet, which does not check the certificate of a probed pod either.
  const request = secure ? https.get({ ...options, rejectUnauthorized: false }) : http.get(options);
  request.once('error', reject).once('response', (response) => {
    response.on('error', () => undefined).resume();
    resolve(response.statusCode ?? 0);
  });
  const status = await promise;
  request.destroy();
  return status >= 200 && status < 400 ? { ok: true } : { ok: false, message: `HTTP probe failed with statuscode: ${status}` };
}

async function tcpProbe({ host, port }: NonNullable<IProbe['tcpSocket']>, target: ProbeTarget, signal: AbortSignal): Promise<ProbeResult> {
  const socket = net.connect({ host: host ?? target.podIp, port: portNumber(port, target.container), signal });
  try {
    await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    return { ok: true };
  } finally {
    socket.destroy();
  }
}

async function execProbe(
  command: readonly string[],
  { record }: ProbeTarget,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<ProbeResult> {
  const { exitCode, output } = await runInContainer(record, command, timeoutMs, signal);
  return exitCode === 0 ? { ok: true } : { ok: false, message: output.trim() === '' ? `exit code ${exitCode}` : output.trim() };
}

function portNumber(port: string | number, container: IContainer): number {
  if (typeof port === 'number' || /^\d+$/.test(port)) return Number(port);
  const named = container.ports?.find((candidate) => candidate.name === port);
  if (named === undefined) throw new Error(`the container has no port named "${port}"`);
  return named.containerPort;
}
