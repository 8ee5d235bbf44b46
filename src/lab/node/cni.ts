import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { text } from 'node:stream/consumers';

import { describeError, IsthmusError } from '../../core/index.ts';

/** The runtime's side of the CNI specification 1.0: https://www.cni.dev/docs/spec/ */

/** One plugin of a network configuration; fields beyond `type` are the plugin's own. */
export interface PluginConfig {
  readonly type: string;
  readonly [field: string]: unknown;
}

export interface NetworkConfig {
  readonly cniVersion: string;
  readonly name: string;
  readonly plugins: readonly PluginConfig[];
}

/** What ADD returns: the addresses that the pod got. */
export interface CniResult {
  readonly cniVersion?: string;
  readonly interfaces?: readonly { readonly name: string; readonly mac?: string; readonly sandbox?: string }[];
  readonly ips?: readonly { readonly address: string; readonly gateway?: string; readonly interface?: number }[];
  readonly [field: string]: unknown;
}

/** Whose network interface is made. */
export interface CniAttachment {
  readonly containerId: string;
  /** Path of the network namespace. */
  readonly netns: string;
  readonly namespace: string;
  readonly pod: string;
  readonly podUid: string;
}

export const cniPaths = { config: '/etc/cni/net.d', plugins: '/opt/cni/bin' } as const;

const interfaceName = 'eth0';

/** How long a plugin may take, milliseconds. */
const pluginTimeout = 60_000;

/** The first network configuration by file name, as containerd and CRI-O choose it. Throws LAB_CNI when there is none that can be used. */
export function readNetworkConfig(folder: string = cniPaths.config): NetworkConfig {
  const files = readdirSync(folder)
    .filter((name) => /\.(conflist|conf|json)$/.test(name))
    .sort();
  for (const file of files) {
    const config = parseNetworkConfig(readFileSync(path.join(folder, file), 'utf8'), file);
    if (config !== undefined) return config;
  }
  throw new IsthmusError('LAB_CNI', `no network configuration in ${folder}`);
}

function parseNetworkConfig(content: string, file: string): NetworkConfig | undefined {
  let parsed: Partial<NetworkConfig> & Partial<PluginConfig>;
  try {
    parsed = JSON.parse(content) as typeof parsed;
  } catch (cause) {
    throw new IsthmusError('LAB_CNI', `${file} is not JSON`, { cause });
  }
  const { cniVersion = '0.1.0', name } = parsed;
  if (name === undefined) return undefined;
  // A .conf file is one plugin by itself.
  if (parsed.plugins === undefined) return parsed.type === undefined ? undefined : { cniVersion, name, plugins: [parsed as PluginConfig] };
  return parsed.plugins.length === 0 ? undefined : { cniVersion, name, plugins: parsed.plugins };
}

/** Runs every plugin's ADD in order, each with the result of the one before. Throws LAB_CNI; then {@link cniDelete} cleans up. */
export async function cniAdd(config: NetworkConfig, attachment: CniAttachment, signal?: AbortSignal): Promise<CniResult> {
  let result: CniResult | undefined;
  for (const plugin of config.plugins) {
    const output = await runPlugin('ADD', config, plugin, attachment, result, signal);
    result = JSON.parse(output) as CniResult;
  }
  return result ?? {};
}

/** Runs every plugin's DEL in reverse order; goes on after a failure, and throws LAB_CNI for the first at the end. */
export async function cniDelete(config: NetworkConfig, attachment: CniAttachment, result: CniResult | undefined): Promise<void> {
  const failures: unknown[] = [];
  for (const plugin of [...config.plugins].reverse()) {
    await runPlugin('DEL', config, plugin, attachment, result).catch((error: unknown) => failures.push(error));
  }
  if (failures.length > 0) throw failures[0];
}

async function runPlugin(
  command: 'ADD' | 'DEL',
  { cniVersion, name }: NetworkConfig,
  plugin: PluginConfig,
  attachment: CniAttachment,
  prevResult: CniResult | undefined,
  signal?: AbortSignal,
): Promise<string> {
  if (!/^[\w.-]+$/.test(plugin.type)) throw new IsthmusError('LAB_CNI', `a plugin cannot be called "${plugin.type}"`);
  const kubernetes = {
    IgnoreUnknown: '1',
    K8S_POD_NAMESPACE: attachment.namespace,
    K8S_POD_NAME: attachment.pod,
    K8S_POD_INFRA_CONTAINER_ID: attachment.containerId,
    K8S_POD_UID: attachment.podUid,
  };
  const timeout = AbortSignal.timeout(pluginTimeout);
  const child = spawn(path.join(cniPaths.plugins, plugin.type), [], {
    stdio: ['pipe', 'pipe', 'pipe'],
    signal: signal === undefined ? timeout : AbortSignal.any([timeout, signal]),
    killSignal: 'SIGKILL',
    env: {
      ...process.env,
      CNI_COMMAND: command,
      CNI_CONTAINERID: attachment.containerId,
      CNI_NETNS: attachment.netns,
      CNI_IFNAME: interfaceName,
      CNI_ARGS: Object.entries(kubernetes)
        .map((pair) => pair.join('='))
        .join(';'),
      CNI_PATH: cniPaths.plugins,
    },
  });
  const failed = Promise.withResolvers<never>();
  child.once('error', failed.reject);
  child.stdin.on('error', () => undefined);
  child.stdin.end(JSON.stringify({ ...plugin, name, cniVersion, ...(prevResult !== undefined && { prevResult }) }));
  try {
    const closed = new Promise<number | null>((resolve) => child.once('close', resolve));
    const [output, said, code] = await Promise.race([Promise.all([text(child.stdout), text(child.stderr), closed]), failed.promise]);
    if (code !== 0) throw new IsthmusError('LAB_CNI', describeFailure(output, said, code));
    return output;
  } catch (cause) {
    throw new IsthmusError(
      'LAB_CNI',
      `plugin ${plugin.type}, ${command}: ${cause instanceof IsthmusError ? cause.message : describeError(cause)}`,
    );
  }
}

/** A plugin reports its error as JSON on standard output: code, msg, details. */
function describeFailure(output: string, said: string, code: number | null): string {
  try {
    const { msg, details } = JSON.parse(output) as { msg?: unknown; details?: unknown };
    if (typeof msg === 'string') return typeof details === 'string' && details !== '' ? `${msg}: ${details}` : msg;
  } catch {
    // Not an error object: what it said elsewhere is the best there is.
  }
  return said.trim() === '' ? `exit code ${code ?? 'none'}` : said.trim();
}
