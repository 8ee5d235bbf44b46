import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';

import { runCommand } from '../../src/linux/index.ts';

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly platform?: { readonly architecture: string; readonly os: string };
}

/** An image as it is read back from its archive. */
export interface ReadImage {
  readonly descriptor: Descriptor;
  readonly config: {
    readonly created: string;
    readonly architecture: string;
    readonly os: string;
    readonly config: {
      readonly User: string;
      readonly Env: readonly string[];
      readonly Entrypoint: readonly string[];
      readonly Labels: Readonly<Record<string, string>>;
    };
    readonly rootfs: { readonly type: string; readonly diff_ids: readonly string[] };
  };
  /** What `tar --list --verbose` prints of each layer's entries. */
  readonly listings: readonly (readonly string[])[];
  readonly docker: readonly { readonly Config: string; readonly RepoTags: readonly string[]; readonly Layers: readonly string[] }[];
  /** What does not agree with the specification. */
  readonly faults: readonly string[];
}

/**
 * Reads an OCI archive back with the system's tar, by the words of image-spec 1.1 and not by the code that wrote it, and unpacks its
 * layers one over the other into `root`.
 */
export async function readImage(archive: string, folder: string, root: string): Promise<ReadImage> {
  const faults: string[] = [];
  mkdirSync(folder);
  mkdirSync(root);
  await runCommand('tar', ['-xf', archive, '-C', folder]);
  const json = (name: string): unknown => JSON.parse(readFileSync(path.join(folder, name), 'utf8'));
  const used = new Set<string>();
  const blob = ({ digest, size }: Descriptor): Buffer => {
    used.add(digest);
    const bytes = readFileSync(path.join(folder, 'blobs', ...digest.split(':')));
    if (bytes.length !== size) faults.push(`${digest}: ${bytes.length} bytes instead of ${size}`);
    if (sha256(bytes) !== digest) faults.push(`${digest}: content is ${sha256(bytes)}`);
    return bytes;
  };

  const layout = json('oci-layout') as { imageLayoutVersion?: string };
  if (layout.imageLayoutVersion !== '1.0.0') faults.push('oci-layout: not version 1.0.0');
  const index = json('index.json') as { schemaVersion: number; manifests: readonly Descriptor[] };
  if (index.schemaVersion !== 2) faults.push('index.json: not schema version 2');
  const [descriptor, ...more] = index.manifests;
  if (descriptor === undefined || more.length > 0) throw new Error('index.json: not one manifest');
  if (descriptor.mediaType !== 'application/vnd.oci.image.manifest.v1+json') faults.push(`manifest: ${descriptor.mediaType}`);
  const manifest = JSON.parse(blob(descriptor).toString()) as {
    schemaVersion: number;
    mediaType: string;
    config: Descriptor;
    layers: readonly Descriptor[];
  };
  if (manifest.schemaVersion !== 2 || manifest.mediaType !== descriptor.mediaType) faults.push('manifest: says another type of itself');
  if (manifest.config.mediaType !== 'application/vnd.oci.image.config.v1+json') faults.push(`config: ${manifest.config.mediaType}`);
  const config = JSON.parse(blob(manifest.config).toString()) as ReadImage['config'];
  if (config.rootfs.type !== 'layers' || config.rootfs.diff_ids.length !== manifest.layers.length) faults.push('config: other layers');

  const listings: (readonly string[])[] = [];
  for (const [number, layer] of manifest.layers.entries()) {
    if (layer.mediaType !== 'application/vnd.oci.image.layer.v1.tar+gzip') faults.push(`layer ${number}: ${layer.mediaType}`);
    const tar = gunzipSync(blob(layer));
    if (sha256(tar) !== config.rootfs.diff_ids[number]) faults.push(`layer ${number}: diff_id is not ${sha256(tar)}`);
    const file = path.join(folder, 'blobs', ...layer.digest.split(':'));
    const listing = await runCommand('tar', ['-tvzf', file, '--numeric-owner', '--full-time', '--utc']);
    listings.push(listing.trimEnd().split('\n'));
    await runCommand('tar', ['-xzpf', file, '-C', root, '--same-owner']);
  }
  for (const name of readdirSync(path.join(folder, 'blobs/sha256'))) if (!used.has(`sha256:${name}`)) faults.push(`${name} is of no use`);
  return { descriptor, config, listings, docker: json('manifest.json') as ReadImage['docker'], faults };
}

export const sha256 = (bytes: Uint8Array): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
