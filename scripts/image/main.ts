import { chmodSync, mkdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';

import { buildArchive } from './archive.ts';
import { commitOf } from './commit.ts';
import type { Layer } from './layer.ts';
import { buildLayers, user } from './layers.ts';

const root = path.resolve(import.meta.dirname, '../..');

/** Go's names, which images go by. */
const architectures: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

const { values } = parseArgs({
  options: { output: { type: 'string', default: path.join(root, 'dist') }, rootfs: { type: 'string' } },
});

const manifest = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as {
  readonly version: string;
  readonly description: string;
  readonly license: string;
  readonly repository?: { readonly url: string };
};
const { version, description, license, repository } = manifest;
const { created, revision } = commitOf(root);
const built = buildLayers({ root, version, created, revision });

if (values.rootfs !== undefined) {
  built.layers.forEach((layer, index) => writeFolder(layer, path.join(values.rootfs ?? '', String(index + 1))));
} else {
  const reference = `docker.io/isthmus/isthmus:${version}`;
  const archive = await buildArchive(built.layers, {
    reference,
    architecture: architectures[process.arch] ?? process.arch,
    created,
    user: `${user}:${user}`,
    entrypoint: ['/usr/bin/isthmus'],
    env: {
      PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      NODE_NO_WARNINGS: '1',
      // For API servers whose kubeconfig names no authority; an operator's own bundle can be mounted over it.
      NODE_USE_SYSTEM_CA: '1',
      SSL_CERT_FILE: '/etc/ssl/certs/ca-certificates.crt',
    },
    labels: {
      'org.opencontainers.image.title': 'isthmus',
      'org.opencontainers.image.description': description,
      'org.opencontainers.image.version': version,
      'org.opencontainers.image.created': created.toISOString(),
      'org.opencontainers.image.licenses': license,
      ...(revision !== undefined && { 'org.opencontainers.image.revision': revision }),
      ...(repository !== undefined && { 'org.opencontainers.image.source': repository.url }),
    },
  });
  mkdirSync(values.output, { recursive: true });
  const file = path.join(values.output, 'isthmus-image.tar');
  replace(file, archive.bytes);
  replace(path.join(values.output, 'isthmus-image.cdx.json'), built.sbom);
  const size = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;
  const lines = [
    `${path.relative(process.cwd(), file)}  ${size(archive.bytes.length)}`,
    `${reference}@${archive.digest}  ${process.arch}`,
    ...archive.layers.map(
      ({ title, digest, compressed, unpacked }) => `  ${digest}  ${size(compressed)}, unpacked ${size(unpacked)}  ${title}`,
    ),
    `taken from this system: ${built.debian.map(({ name, version }) => `${name} ${version}`).join(', ')}`,
    `npm packages: ${built.npm.length}`,
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
}

/** Whoever reads the file meanwhile has the old one whole. */
function replace(file: string, content: Uint8Array | string): void {
  writeFileSync(`${file}.tmp`, content);
  renameSync(`${file}.tmp`, file);
}

function writeFolder(layer: Layer, folder: string): void {
  mkdirSync(folder, { recursive: true });
  for (const entry of layer.entries()) {
    const name = path.join(folder, entry.path);
    if (entry.kind === 'link') symlinkSync(entry.target, name);
    else {
      if (entry.kind === 'directory') mkdirSync(name);
      else writeFileSync(name, entry.content);
      // The umask has no say.
      chmodSync(name, entry.mode);
    }
  }
}
