import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describeError, IsthmusError } from '../core/index.ts';
import {
  authorityFiles,
  readAuthority,
  verifyAuthority,
  writeAuthority,
  type AuthorityMaterial,
  type VerifiedAuthority,
} from './authority-material.ts';
import { createRoot, issueIntermediate, type CreateRootOptions } from './create-authority.ts';
import { writeFileAtomic } from './files.ts';

/**
 * A directory that holds the root which clusters share, and a sub-directory with an intermediate for each cluster:
 * `root-cert.pem`, `root-key.pem`, `<cluster>/{ca-cert,ca-key,cert-chain,root-cert}.pem`.
 */
const rootKeyFile = 'root-key.pem';

/** Makes the root. Throws PKI_ROOT_EXISTS when there is one, unless `force`. */
export async function createSharedRoot(
  directory: string,
  options: CreateRootOptions & { readonly force?: boolean },
): Promise<VerifiedAuthority> {
  const path = join(directory, authorityFiles.roots);
  if (options.force !== true && ((await readIfAny(path)) ?? (await readIfAny(join(directory, rootKeyFile)))) !== undefined) {
    throw new IsthmusError('PKI_ROOT_EXISTS', `${directory} already holds a root; another one would cut off the clusters that trust it`, {
      hint: 'use another --dir, or --force if no cluster uses it',
    });
  }
  const material = await createRoot(options);
  await writeFileAtomic(join(directory, rootKeyFile), material.key, 0o600);
  await writeFileAtomic(path, material.roots, 0o644);
  return verifyAuthority(material);
}

/** The root of a directory. Throws PKI_ROOT_MISSING, or PKI_CA_INVALID when key and certificate do not fit. */
export async function readSharedRoot(directory: string): Promise<VerifiedAuthority> {
  const certificate = await readIfAny(join(directory, authorityFiles.roots));
  const key = await readIfAny(join(directory, rootKeyFile));
  if (certificate === undefined || key === undefined) {
    throw new IsthmusError('PKI_ROOT_MISSING', `${directory} holds no ${certificate === undefined ? authorityFiles.roots : rootKeyFile}`, {
      hint: `isthmus ca create-root --dir ${directory}`,
    });
  }
  return verifyAuthority({ certificate, key, chain: certificate, roots: certificate });
}

/**
 * The intermediate of one cluster, in `<directory>/<cluster>`. One that is there and still fits the root is kept, since peers know a
 * cluster by its key; `renew` makes another. `made` tells which.
 */
export async function clusterIntermediate(
  directory: string,
  options: { readonly cluster: string; readonly renew?: boolean },
): Promise<{ readonly authority: VerifiedAuthority; readonly made: boolean }> {
  const root = await readSharedRoot(directory);
  const path = join(directory, options.cluster);
  if (options.renew !== true && (await readIfAny(join(path, authorityFiles.certificate))) !== undefined) {
    const authority = verifyAuthority(await readAuthority(path));
    if (authority.roots.some(({ fingerprint256 }) => fingerprint256 === root.certificate.fingerprint256)) return { authority, made: false };
    throw new IsthmusError('PKI_CA_INVALID', `${path} holds an intermediate of another root`, { hint: '--renew replaces it' });
  }
  const material: AuthorityMaterial = await issueIntermediate(root, options);
  await writeAuthority(path, material);
  return { authority: verifyAuthority(material), made: true };
}

async function readIfAny(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new IsthmusError('PKI_FILE', `cannot read ${path}: ${describeError(error)}`);
  }
}
