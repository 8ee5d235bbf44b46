import { createHash } from 'node:crypto';

import type { DebianPackage } from './debian.ts';
import type { NpmPackage } from './packages.ts';

/** One file of the image that this repository did not bring. */
export interface TakenFile {
  /** Absolute, in the image. */
  readonly path: string;
  readonly content: Uint8Array;
  readonly debian: DebianPackage | undefined;
}

export interface Contents {
  readonly version: string;
  readonly created: Date;
  readonly revision: string | undefined;
  /** As in /etc/os-release: `debian-12`. */
  readonly distribution: string;
  readonly npm: readonly NpmPackage[];
  readonly files: readonly TakenFile[];
}

/**
 * What the image is made of, as a CycloneDX 1.6 document: each Debian package with the files that were taken of it, files of no
 * package, and each npm package.
 */
export function billOfMaterials(contents: Contents): object {
  const { version, created, revision, npm, files } = contents;
  const byPackage = Map.groupBy(files, ({ debian }) => debian);
  const debian = [...byPackage].filter((entry): entry is [DebianPackage, TakenFile[]] => entry[0] !== undefined);
  return {
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    version: 1,
    metadata: {
      timestamp: created.toISOString(),
      component: {
        type: 'container',
        name: 'isthmus',
        version,
        licenses: [{ license: { id: 'Apache-2.0' } }],
        ...(revision !== undefined && { properties: [{ name: 'isthmus:revision', value: revision }] }),
      },
    },
    components: [
      ...debian
        .sort(([a], [b]) => (a.name < b.name ? -1 : 1))
        .map(([found, taken]) => ({
          type: 'library',
          name: found.name,
          version: found.version,
          purl: debianPurl(found, contents.distribution),
          components: taken.map(fileComponent),
        })),
      ...(byPackage.get(undefined) ?? []).map(fileComponent),
      ...npm.map((found) => ({
        type: 'library',
        name: found.name,
        version: found.version,
        purl: `pkg:npm/${found.name.replace('@', '%40')}@${found.version}`,
        ...(found.license !== undefined && { licenses: [licenseOf(found.license)] }),
        ...(found.integrity?.startsWith('sha512-') === true && {
          hashes: [{ alg: 'SHA-512', content: Buffer.from(found.integrity.slice('sha512-'.length), 'base64').toString('hex') }],
        }),
      })),
    ],
  };
}

function debianPurl({ name, version, architecture }: DebianPackage, distribution: string): string {
  const vendor = distribution.split('-')[0] ?? 'debian';
  return `pkg:deb/${vendor}/${encodeURIComponent(name)}@${encodeURIComponent(version)}?arch=${architecture}&distro=${distribution}`;
}

function fileComponent({ path, content }: TakenFile): object {
  return { type: 'file', name: path, hashes: [{ alg: 'SHA-256', content: createHash('sha256').update(content).digest('hex') }] };
}

/** `(A AND B)` is an expression, `A` an identifier. */
function licenseOf(text: string): object {
  return /\s/.test(text) ? { expression: text } : { license: { id: text } };
}
