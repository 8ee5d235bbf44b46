import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import process from 'node:process';

/**
 * The CNI plugin `istio-cni`, chained after the cluster's own (CNI specification 1.0). The container runtime runs it for
 * each pod that starts; it asks the node agent to put the pod into the mesh if it belongs there, and waits for that.
 *
 * This file is copied to the node and runs alone there, so it imports nothing but Node's own modules.
 */

/** What the runtime gives on standard input: our entry of the network configuration, and the result of the plugins before. */
interface PluginInput {
  readonly cniVersion?: string;
  readonly prevResult?: { readonly ips?: readonly { readonly address: string; readonly gateway?: string; readonly interface?: number }[] };
  /** Folder of the agent's socket; default /var/run/istio-cni. */
  readonly cni_agent_run_dir?: string;
  /** Pods of these namespaces are left alone without asking. */
  readonly exclude_namespaces?: readonly string[];
  /** The agent's own namespace: the agent has to be able to start while it is not there. */
  readonly pod_namespace?: string;
}

/** How the plugin is called. */
export interface PluginCall {
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Standard input. */
  readonly input: string;
}

/** What it prints on standard output, and its exit code. */
export interface PluginOutcome {
  readonly output: string;
  readonly exitCode: number;
}

const supportedVersions = ['0.1.0', '0.2.0', '0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'];

/** Error codes of the CNI specification; from 100 on they are ours. */
const codes = {
  incompatible: 1,
  unsupportedField: 2,
  invalidEnvironment: 4,
  decode: 6,
  invalidConfig: 7,
  unavailable: 50,
  agentUnreachable: 100,
  agentRefused: 101,
};

/** How long the agent may take, milliseconds: ztunnel has to open the pod's ports meanwhile. */
const agentTimeout = 10_000;

class PluginError extends Error {
  readonly code: number;
  readonly details: string;

  constructor(code: number, message: string, details = '') {
    super(message);
    this.code = code;
    this.details = details;
  }
}

/** Runs one call to its end; never throws. */
export async function runPlugin({ environment, input }: PluginCall): Promise<PluginOutcome> {
  let cniVersion = '1.0.0';
  try {
    const command = environment['CNI_COMMAND'];
    if (command === 'VERSION') return { output: JSON.stringify({ cniVersion, supportedVersions }), exitCode: 0 };
    const config = parseInput(input);
    cniVersion = config.cniVersion ?? '0.1.0';
    if (!supportedVersions.includes(cniVersion)) {
      throw new PluginError(codes.incompatible, `CNI version ${cniVersion} is not supported`, supportedVersions.join(', '));
    }
    return { output: await runCommand(command, config, environment), exitCode: 0 };
  } catch (error) {
    const { code, message, details } = error instanceof PluginError ? error : new PluginError(999, String(error));
    return { output: JSON.stringify({ cniVersion, code, msg: message, ...(details === '' ? {} : { details }) }), exitCode: 1 };
  }
}

function parseInput(input: string): PluginInput {
  try {
    return JSON.parse(input) as PluginInput;
  } catch (error) {
    throw new PluginError(codes.decode, 'the network configuration on standard input is not JSON', String(error));
  }
}

async function runCommand(command: string | undefined, config: PluginInput, environment: PluginCall['environment']): Promise<string> {
  switch (command) {
    case 'ADD':
      await add(config, environment);
      return JSON.stringify({ ...config.prevResult, cniVersion: config.cniVersion });
    case 'STATUS':
      await callAgent(config, 'GET', '/readyz', '', codes.unavailable);
      return '';
    // The agent sees pods go; their rules go with their namespaces.
    case 'DEL':
    case 'CHECK':
    case 'GC':
      return '';
    default:
      throw new PluginError(codes.invalidEnvironment, `CNI_COMMAND "${command ?? ''}" is unknown`);
  }
}

async function add(config: PluginInput, environment: PluginCall['environment']): Promise<void> {
  const { prevResult } = config;
  if (prevResult === undefined)
    throw new PluginError(codes.invalidConfig, 'required prevResult is missing: istio-cni must be chained after another plugin');
  const args = new Map((environment['CNI_ARGS'] ?? '').split(';').map((pair) => pair.split('=', 2) as [string, string]));
  const [name, namespace, uid] = [args.get('K8S_POD_NAME'), args.get('K8S_POD_NAMESPACE'), args.get('K8S_POD_UID')];
  // Not a pod of Kubernetes.
  if (name === undefined || name === '' || namespace === undefined || namespace === '') return;
  if (config.exclude_namespaces?.includes(namespace) === true) return;
  if (namespace === config.pod_namespace && name.startsWith('istio-cni-node-')) return;
  const netns = environment['CNI_NETNS'];
  if (netns === undefined || netns === '') throw new PluginError(codes.invalidEnvironment, 'CNI_NETNS is not set');
  const body = {
    Netns: netns,
    PodName: name,
    PodNamespace: namespace,
    ...(uid === undefined || uid === '' ? {} : { PodUID: uid }),
    IPs: (prevResult.ips ?? []).map((ip) => ({
      Interface: ip.interface ?? null,
      Address: addressAndMask(ip.address),
      Gateway: ip.gateway ?? '',
    })),
  };
  await callAgent(config, 'POST', '/cmdadd', JSON.stringify(body), codes.agentUnreachable);
}

/** `10.1.2.3/24` as Go's net.IPNet in JSON: the address, and the mask's bytes in base64. */
function addressAndMask(cidr: string): { IP: string; Mask: string } {
  const [ip = '', length = '0'] = cidr.split('/');
  const bits = Number(length);
  const mask = Array.from(
    { length: ip.includes(':') ? 16 : 4 },
    (_, index) => (0xff << (8 - Math.min(8, Math.max(0, bits - 8 * index)))) & 0xff,
  );
  return { IP: ip, Mask: Buffer.from(mask).toString('base64') };
}

function callAgent(config: PluginInput, method: string, path: string, body: string, unreachable: number): Promise<void> {
  const socketPath = `${config.cni_agent_run_dir ?? '/var/run/istio-cni'}/pluginevent.sock`;
  return new Promise((resolve, reject) => {
    const call = request({
      socketPath,
      method,
      path,
      timeout: agentTimeout,
      headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
    });
    call.once('timeout', () => call.destroy(new Error(`no answer within ${agentTimeout} ms`)));
    call.once('error', (error) => {
      reject(
        new PluginError(
          unreachable,
          `the node agent istio-cni-node does not answer at ${socketPath} [CNI_AGENT_UNREACHABLE]`,
          error.message,
        ),
      );
    });
    call.once('response', (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (text += chunk));
      response.once('error', (error) => {
        reject(new PluginError(unreachable, `the answer of the node agent broke off`, error.message));
      });
      response.once('end', () => {
        if (response.statusCode === 200) resolve();
        else reject(new PluginError(codes.agentRefused, `the node agent could not put the pod into the mesh: ${text.trim()}`));
      });
    });
    call.end(body);
  });
}

/** The program itself, when this file is run. */
export async function main(): Promise<void> {
  const { output, exitCode } = await runPlugin({ environment: process.env, input: readFileSync(0, 'utf8') });
  process.stdout.write(output);
  process.exitCode = exitCode;
}

if (import.meta.main) await main();
