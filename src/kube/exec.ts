import type { Status } from '../api/kubernetes.ts';
import { IsthmusError } from '../core/index.ts';
import type { KubeClient, ObjectRef } from './client.ts';
import { authorization } from './transport.ts';

export interface ExecResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Channels of Kubernetes' v5.channel.k8s.io WebSocket protocol: the first byte of each message. */
const channels = { stdout: 1, stderr: 2, error: 3 } as const;

/**
 * Runs a command in a container and resolves with what it printed. Throws KUBE_UNREACHABLE when the connection fails;
 * a command that fails is an exit code, not an error.
 */
export async function execInPod(
  client: KubeClient,
  ref: ObjectRef & { container?: string },
  command: readonly string[],
  options: { signal?: AbortSignal } = {},
): Promise<ExecResult> {
  const { WebSocket } = await import('ws');
  const { config } = client.transport;
  const { token, cert, key } = await client.transport.credentials(options.signal);
  const query = new URLSearchParams({ stdout: 'true', stderr: 'true' });
  if (ref.container !== undefined) query.set('container', ref.container);
  for (const word of command) query.append('command', word);
  const url = `${config.server.replace(/^http/, 'ws')}/api/v1/namespaces/${ref.namespace ?? 'default'}/pods/${ref.name}/exec?${query.toString()}`;
  const socket = new WebSocket(url, ['v5.channel.k8s.io', 'v4.channel.k8s.io'], {
    headers: authorization(token),
    perMessageDeflate: false,
    ...(config.ca !== undefined && { ca: config.ca }),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
    ...(config.tlsServerName !== undefined && { servername: config.tlsServerName }),
  });
  const output: Record<number, Buffer[]> = { [channels.stdout]: [], [channels.stderr]: [], [channels.error]: [] };
  const { promise, resolve, reject } = Promise.withResolvers<ExecResult>();
  const onAbort = (): void => socket.terminate();
  options.signal?.addEventListener('abort', onAbort, { once: true });
  socket.on('message', (data: Buffer) => {
    output[data[0] ?? -1]?.push(data.subarray(1));
  });
  socket.once('error', (error) => {
    reject(new IsthmusError('KUBE_UNREACHABLE', `exec in ${ref.name} failed`, { cause: error }));
  });
  socket.once('close', () => {
    const text = (channel: number): string => Buffer.concat(output[channel] ?? []).toString('utf8');
    const status = text(channels.error);
    if (status === '') reject(new IsthmusError('KUBE_UNREACHABLE', `exec in ${ref.name} ended without a status`));
    else resolve({ exitCode: exitCode(JSON.parse(status) as Status), stdout: text(channels.stdout), stderr: text(channels.stderr) });
  });
  try {
    return await promise;
  } finally {
    options.signal?.removeEventListener('abort', onAbort);
  }
}

function exitCode(status: Status): number {
  if (status.status === 'Success') return 0;
  const code = status.details?.causes?.find(({ reason }) => reason === 'ExitCode')?.message;
  return code === undefined ? 1 : Number(code);
}
