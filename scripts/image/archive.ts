import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';

import { packTar } from 'modern-tar';

import type { Layer } from './layer.ts';

/** What containers of the image are told, and what the image says of itself. */
export interface ImageConfig {
  /** Registry, repository and tag. */
  readonly reference: string;
  /** GOARCH's word: amd64, arm64. */
  readonly architecture: string;
  readonly created: Date;
  readonly user: string;
  readonly entrypoint: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
}

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

/** What was written, for those who want to know. */
export interface BuiltArchive {
  readonly bytes: Uint8Array;
  /** Digest of the image's manifest: what registries and runtimes name it by. */
  readonly digest: string;
  readonly layers: readonly { readonly title: string; readonly digest: string; readonly compressed: number; readonly unpacked: number }[];
}

const mediaTypes = {
  index: 'application/vnd.oci.image.index.v1+json',
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar+gzip',
} as const;

/**
 * An image of these layers as an archive of the OCI image layout (image-spec 1.1), which containerd, Podman and Skopeo
 * take; a manifest.json beside it makes `docker load` of any age take it too.
 */
export async function buildArchive(layers: readonly Layer[], config: ImageConfig): Promise<BuiltArchive> {
  const blobs = new Map<string, Uint8Array>();
  const addBlob = (mediaType: string, bytes: Uint8Array): Descriptor => {
    const digest = digestOf(bytes);
    blobs.set(`blobs/${digest.replace(':', '/')}`, bytes);
    return { mediaType, digest, size: bytes.length };
  };

  const packed = [];
  for (const layer of layers) {
    const tar = await packLayer(layer);
    const descriptor = addBlob(mediaTypes.layer, gzipSync(tar));
    packed.push({ title: layer.title, diffId: digestOf(tar), unpacked: tar.length, descriptor });
  }
  const created = config.created.toISOString();
  const configDescriptor = addBlob(
    mediaTypes.config,
    json({
      created,
      architecture: config.architecture,
      os: 'linux',
      config: {
        User: config.user,
        Env: Object.entries(config.env).map(([name, value]) => `${name}=${value}`),
        Entrypoint: config.entrypoint,
        WorkingDir: '/',
        Labels: config.labels,
      },
      rootfs: { type: 'layers', diff_ids: packed.map(({ diffId }) => diffId) },
      history: packed.map(({ title }) => ({ created, created_by: `isthmus image: ${title}` })),
    }),
  );
  const descriptors = packed.map(({ descriptor }) => descriptor);
  const manifest = addBlob(
    mediaTypes.manifest,
    json({ schemaVersion: 2, mediaType: mediaTypes.manifest, config: configDescriptor, layers: descriptors, annotations: config.labels }),
  );
  const index = {
    schemaVersion: 2,
    mediaType: mediaTypes.index,
    manifests: [
      {
        ...manifest,
        platform: { architecture: config.architecture, os: 'linux' },
        annotations: { 'io.containerd.image.name': config.reference, 'org.opencontainers.image.ref.name': config.reference },
      },
    ],
  };
  const blobPath = ({ digest }: Descriptor): string => `blobs/${digest.replace(':', '/')}`;
  const docker = [{ Config: blobPath(configDescriptor), RepoTags: [config.reference], Layers: descriptors.map(blobPath) }];
  const files: [string, Uint8Array][] = [
    ['oci-layout', json({ imageLayoutVersion: '1.0.0' })],
    ['index.json', json(index)],
    ['manifest.json', json(docker)],
    ...[...blobs].sort(([a], [b]) => (a < b ? -1 : 1)),
  ];
  return {
    bytes: await packTar(files.map(([name, body]) => ({ header: { ...ownership, name, size: body.length, mode: 0o644 }, body }))),
    digest: manifest.digest,
    layers: packed.map(({ title, unpacked, descriptor }) => ({
      title,
      digest: descriptor.digest,
      compressed: descriptor.size,
      unpacked,
    })),
  };
}

/** The times in a layer are not the commit's: a layer in which nothing changed is the same in the next version, and is not sent again. */
const ownership = { uid: 0, gid: 0, uname: '', gname: '', mtime: new Date(0) } as const;

function packLayer(layer: Layer): Promise<Uint8Array> {
  return packTar(
    layer.entries().map((entry) => {
      switch (entry.kind) {
        case 'directory':
          return { header: { ...ownership, type: 'directory', name: `${entry.path}/`, mode: entry.mode, size: 0 } };
        case 'link':
          return { header: { ...ownership, type: 'symlink', name: entry.path, linkname: entry.target, mode: 0o777, size: 0 } };
        case 'file':
          return {
            header: { ...ownership, type: 'file', name: entry.path, mode: entry.mode, size: entry.content.length },
            body: entry.content,
          };
      }
    }),
  );
}

const digestOf = (bytes: Uint8Array): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

const json = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value));
