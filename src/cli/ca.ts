import { homedir } from 'node:os';
import { join } from 'node:path';

import { istioNamespace } from '../api/names.ts';
import { resources } from '../api/resources.ts';
import { IsthmusError } from '../core/index.ts';
import type { KubeClient } from '../kube/index.ts';
import { authorityFiles, authorityFingerprint, clusterIntermediate, createSharedRoot, type VerifiedAuthority } from '../pki/index.ts';
import { clientFor, createCommand, runCommand, withClusterOptions, type ClusterOptions } from './command.ts';

const secretName = 'cacerts';

interface CreateRootOptions {
  readonly dir: string;
  readonly organization?: string;
  readonly force?: boolean;
}

interface IntermediateOptions extends ClusterOptions {
  readonly cluster: string;
  readonly dir: string;
  readonly istioNamespace: string;
  readonly renew?: boolean;
  readonly force?: boolean;
}

/** `isthmus ca`: the root that peered clusters share, and an intermediate authority for each of them. */
export async function run(args: string[]): Promise<void> {
  const dir = ['--dir <dir>', 'where the root is kept', join(homedir(), '.isthmus', 'ca')] as const;
  const command = createCommand('ca', 'Certificate authorities of peered clusters: one root, one intermediate a cluster.');
  command
    .command('create-root')
    .description('Make the root. Its key stays in the directory, readable by its owner only, and never goes to a cluster.')
    .option(...dir)
    .option('--organization <name>', "the root's organization; default Istio")
    .option('--force', 'replace a root that is there')
    .action(async (options: CreateRootOptions) => {
      const root = await createSharedRoot(options.dir, options);
      process.stdout.write(`root created in ${options.dir}, valid until ${dateOf(root)}\n`);
    });
  withClusterOptions(
    command
      .command('issue-intermediate')
      .description(`Make a cluster's intermediate, as Istio's files; with --context also as the Secret ${secretName} that istiod reads.`)
      .requiredOption('--cluster <name>', 'the cluster id')
      .option(...dir)
      .option('-i, --istioNamespace <name>', 'namespace of istiod', istioNamespace)
      .option('--renew', 'make a new key even if the cluster has one; peers that pinned the old one refuse it until they are told')
      .option('--force', 'replace a Secret of another root'),
  ).action(async (options: IntermediateOptions) => {
    if (!/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(options.cluster)) {
      throw new IsthmusError('ISTHMUS_USAGE', `"${options.cluster}" cannot be a cluster id`, {
        hint: 'use lower-case letters, digits and -, at most 63',
      });
    }
    const { authority, made } = await clusterIntermediate(options.dir, options);
    process.stdout.write(
      `intermediate of ${options.cluster} ${made ? 'issued' : 'unchanged'} in ${join(options.dir, options.cluster)}, valid until ${dateOf(authority)}\n` +
        `public key SHA-256 ${authorityFingerprint(authority)}\n`,
    );
    if (options.context === undefined) return;
    using client = clientFor(options);
    await applyCacerts(client, authority, { force: options.force === true, namespace: options.istioNamespace });
    process.stdout.write(`${options.context}: secret ${options.istioNamespace}/${secretName} applied\n`);
  });
  await runCommand(command, args);
}

function dateOf(authority: VerifiedAuthority): string {
  return new Date(authority.notAfter).toISOString().slice(0, 10);
}

/**
 * Writes the Secret cacerts that istiod reads. Without `force` one of another root stays, with PKI_ROOT_EXISTS: replacing it by
 * accident would make every certificate of the cluster unbelievable.
 */
export async function applyCacerts(
  client: KubeClient,
  authority: VerifiedAuthority,
  { force, namespace = istioNamespace }: { readonly force: boolean; readonly namespace?: string },
): Promise<void> {
  const ref = { name: secretName, namespace };
  const root = base64(authority.material.roots);
  const old = await client.find(resources.secrets, ref);
  const oldRoot = old?.data?.[authorityFiles.roots];
  if (!force && oldRoot !== undefined && oldRoot !== root) {
    throw new IsthmusError('PKI_ROOT_EXISTS', `the cluster already has a Secret ${namespace}/${secretName} of another root`, {
      hint: '--force replaces it; every workload then needs a new certificate',
    });
  }
  const fieldManager = 'isthmus-ca';
  await client.apply(resources.namespaces, { metadata: { name: namespace } }, { fieldManager });
  const { certificate, key, chain } = authority.material;
  const data = {
    [authorityFiles.certificate]: base64(certificate),
    [authorityFiles.key]: base64(key),
    [authorityFiles.chain]: base64(chain),
    [authorityFiles.roots]: root,
  };
  await client.apply(resources.secrets, { metadata: ref, type: 'Opaque', data }, { fieldManager });
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}
