import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import path from 'node:path';

import { createSigningKey, issueLeaf, type KeyedPem, type LeafOptions } from './certificates.ts';
import { clusterPkiFiles, type ClusterPkiFiles } from './files.ts';
import { kubeconfigText } from './kubeconfig.ts';

export interface ClusterPkiOptions {
  /** The cluster's directory; keys go to `pki/` in it, kubeconfigs beside. */
  readonly stateDir: string;
  /** Also the context in the kubeconfigs. */
  readonly clusterName: string;
  readonly nodeName: string;
  /** Names and addresses of the API server beside the usual ones; the first one is where the kubeconfigs point. */
  readonly addresses: readonly string[];
  /** Port in the kubeconfigs; default 6443. */
  readonly port?: number;
}

export interface ClusterPki {
  readonly files: ClusterPkiFiles;
  /** The cluster's CA, PEM. */
  readonly ca: string;
  /** For a kubeconfig of the lab's user: kubernetes-admin of system:masters. */
  readonly admin: KeyedPem;
}

/**
 * Makes what is missing of a cluster's PKI: its CA, the certificates of its servers, the clients' kubeconfigs. What is there and
 * still good is kept, so that calling it again changes nothing. Throws PKI_FILE.
 */
export async function ensureClusterPki(options: ClusterPkiOptions): Promise<ClusterPki> {
  const { stateDir, clusterName, nodeName, addresses, port = 6443 } = options;
  const files = clusterPkiFiles(stateDir);
  const ca = await ensureCa(files, clusterName);
  const names = [
    ...addresses,
    nodeName,
    ...['kubernetes', 'kubernetes.default', 'kubernetes.default.svc', 'kubernetes.default.svc.cluster.local', 'localhost', '127.0.0.1'],
  ];
  await ensureLeaf(files.apiserver, files.apiserverKey, { ca, commonName: 'kube-apiserver', usage: 'server', names });
  await ensureLeaf(files.kubelet, files.kubeletKey, {
    ca,
    commonName: `system:node:${nodeName}`,
    organizations: ['system:nodes'],
    usage: 'server',
    names: [nodeName, ...addresses, 'localhost', '127.0.0.1'],
  });
  await ensureLeaf(files.kubeletClient, files.kubeletClientKey, { ca, commonName: 'system:apiserver', usage: 'client' });
  if ((await readIfThere(files.serviceAccountKey)) === undefined) await writeFile(files.serviceAccountKey, await createSigningKey(), 0o600);

  const server = `https://${bracketed(addresses[0] ?? '127.0.0.1')}:${String(port)}`;
  const client = async (file: string, commonName: string, organizations: readonly string[]): Promise<KeyedPem> => {
    const name = path.basename(file, '.kubeconfig');
    const pki = path.join(stateDir, 'pki', name);
    const identity = await ensureLeaf(`${pki}.crt`, `${pki}.key`, { ca, commonName, organizations, usage: 'client' });
    const text = kubeconfigText([{ name: clusterName, server, ca: ca.certificate, user: identity }]);
    if ((await readIfThere(file)) !== text) await writeFile(file, text, 0o600);
    return identity;
  };
  const admin = await client(files.adminKubeconfig, 'kubernetes-admin', ['system:masters']);
  await client(files.controllerManagerKubeconfig, 'system:kube-controller-manager', []);
  await client(files.nodeKubeconfig, `system:node:${nodeName}`, ['system:nodes']);
  return { files, ca: ca.certificate, admin };
}

async function ensureCa(files: ClusterPkiFiles, clusterName: string): Promise<KeyedPem> {
  const [certificate, key] = await Promise.all([readIfThere(files.ca), readIfThere(files.caKey)]);
  if (certificate !== undefined && key !== undefined) return { certificate, key };
  const { createRoot } = await import('../../../pki/index.ts');
  const made = await createRoot({ organization: clusterName, commonName: 'kubernetes' });
  await writeFile(files.caKey, made.key, 0o600);
  await writeFile(files.ca, made.certificate, 0o644);
  return made;
}

async function ensureLeaf(file: string, keyFile: string, options: LeafOptions): Promise<KeyedPem> {
  const [certificate, key] = await Promise.all([readIfThere(file), readIfThere(keyFile)]);
  if (certificate !== undefined && key !== undefined && isGood(certificate, options)) return { certificate, key };
  const made = await issueLeaf(options);
  await writeFile(keyFile, made.key, 0o600);
  await writeFile(file, made.certificate, 0o644);
  return made;
}

/** Signed by this CA, for all the names, and not about to end. */
function isGood(pem: string, { ca, names = [] }: LeafOptions): boolean {
  const certificate = new X509Certificate(pem);
  if (!certificate.verify(new X509Certificate(ca.certificate).publicKey)) return false;
  if (certificate.validToDate.getTime() < Date.now() + 30 * 24 * 3600 * 1000) return false;
  return names.every((name) => (isIP(name) === 0 ? certificate.checkHost(name) : certificate.checkIP(name)) !== undefined);
}

/** The PKI room is loaded when there is something to make: most starts find everything there. */
async function writeFile(file: string, content: string, mode: number): Promise<void> {
  const { writeFileAtomic } = await import('../../../pki/index.ts');
  await writeFileAtomic(file, content, mode);
}

async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function bracketed(host: string): string {
  return isIP(host) === 6 ? `[${host}]` : host;
}
