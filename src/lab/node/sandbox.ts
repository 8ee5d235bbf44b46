import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import type { Pod } from '../../api/kubernetes.ts';
import { NetworkNamespace, unmount } from '../../linux/index.ts';
import { cniAdd, cniDelete, readNetworkConfig, type CniAttachment, type CniResult, type NetworkConfig } from './cni.ts';

/**
 * A pod's network namespace and what the CNI plugins made in it. It belongs to no process: mounted on a file, it lives
 * until it is unmounted, whatever becomes of the node agent.
 */
export interface Sandbox {
  readonly attachment: CniAttachment;
  /** As it was when the plugins were run: DEL has to go to the same ones. */
  readonly config: NetworkConfig;
  readonly result: CniResult;
}

const namespaces = '/run/netns';

/**
 * Makes the sandbox and writes it to `file` first, so that a node agent that is killed meanwhile finds it again. Throws
 * LAB_CNI, then nothing is left.
 */
export async function createSandbox(pod: Pod, file: string, signal: AbortSignal): Promise<Sandbox> {
  const config = readNetworkConfig();
  const id = randomUUID();
  const attachment: CniAttachment = {
    containerId: id.replaceAll('-', ''),
    netns: path.join(namespaces, `cni-${id}`),
    namespace: pod.metadata.namespace ?? 'default',
    pod: pod.metadata.name,
    podUid: pod.metadata.uid ?? '',
  };
  writeFileSync(file, JSON.stringify({ attachment, config, result: {} } satisfies Sandbox));
  mkdirSync(namespaces, { recursive: true });
  try {
    using namespace = NetworkNamespace.create();
    namespace.bindTo(attachment.netns);
    const result = await cniAdd(config, attachment, signal);
    const sandbox: Sandbox = { attachment, config, result };
    writeFileSync(file, JSON.stringify(sandbox));
    return sandbox;
  } catch (error) {
    await removeSandbox(file).catch(() => undefined);
    throw error;
  }
}

/** The sandbox that was written to a file, if it is complete. */
export function readSandbox(file: string): Sandbox | undefined {
  if (!existsSync(file)) return undefined;
  const sandbox = JSON.parse(readFileSync(file, 'utf8')) as Sandbox;
  return podAddresses(sandbox).length === 0 ? undefined : sandbox;
}

/** Takes the sandbox in a file down, complete or not; with none there is nothing to do. Throws LAB_CNI after taking down what could be. */
export async function removeSandbox(file: string): Promise<void> {
  if (!existsSync(file)) return;
  const { attachment, config, result } = JSON.parse(readFileSync(file, 'utf8')) as Sandbox;
  try {
    await cniDelete(config, attachment, result.ips === undefined ? undefined : result);
  } finally {
    if (existsSync(attachment.netns)) {
      try {
        unmount(attachment.netns);
      } finally {
        rmSync(attachment.netns, { force: true });
      }
    }
    rmSync(file, { force: true });
  }
}

/** The pod's addresses, without the prefix. */
export function podAddresses(sandbox: Sandbox): readonly string[] {
  return (sandbox.result.ips ?? []).map(({ address }) => address.split('/')[0] ?? '');
}
