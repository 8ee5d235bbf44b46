import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

/** An npm package as package-lock.json has it. */
export interface NpmPackage {
  /** Below the repository's root: `node_modules/a/node_modules/b`. */
  readonly location: string;
  readonly name: string;
  readonly version: string;
  /** As the package states it: SPDX. */
  readonly license: string | undefined;
  /** Subresource integrity of the registry's archive: `sha512-…`. */
  readonly integrity: string | undefined;
}

interface Locked {
  readonly version?: string;
  readonly license?: string;
  readonly integrity?: string;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
}

/** These packages and all that they depend on and that is installed here, by location. */
export function withDependencies(root: string, names: Iterable<string>): readonly NpmPackage[] {
  const { packages } = JSON.parse(readFileSync(path.join(root, 'package-lock.json'), 'utf8')) as { packages: Record<string, Locked> };
  const found = new Map<string, NpmPackage>();
  const visit = (from: string, name: string, optional: boolean): void => {
    const location = resolve(packages, from, name);
    const locked = location === undefined ? undefined : packages[location];
    if (location === undefined || locked?.version === undefined || !existsSync(path.join(root, location))) {
      if (optional) return;
      throw new Error(`npm package ${name}, needed by ${from === '' ? 'the program' : from}, is not installed`);
    }
    if (found.has(location)) return;
    found.set(location, { location, name, version: locked.version, license: locked.license, integrity: locked.integrity });
    for (const dependency of Object.keys(locked.dependencies ?? {})) visit(location, dependency, false);
    for (const dependency of Object.keys({ ...locked.optionalDependencies, ...locked.peerDependencies })) visit(location, dependency, true);
  };
  for (const name of names) visit('', name, false);
  return [...found.values()].sort((a, b) => (a.location < b.location ? -1 : 1));
}

/** Node's own search: in the package's node_modules, then in those above it. */
function resolve(packages: Readonly<Record<string, Locked>>, from: string, name: string): string | undefined {
  for (let folder = from; ; folder = folder.slice(0, Math.max(0, folder.lastIndexOf('/node_modules/')))) {
    const location = folder === '' ? `node_modules/${name}` : `${folder}/node_modules/${name}`;
    if (packages[location] !== undefined) return location;
    if (folder === '') return undefined;
  }
}

/** Folders at a package's top that no import reaches; deeper down such a name may be code (`yaml/dist/doc`). */
const unusedFolders = new Set([
  'node_modules',
  'test',
  'tests',
  'doc',
  'docs',
  'example',
  'examples',
  'bench',
  'benchmark',
  'benchmarks',
  'vendor',
]);

/** Types, source maps, what is for readers or for compilers; licences stay. */
const unusedFile =
  /\.(?:ts|mts|cts|map|md|markdown|c|cc|cpp|h|hh|hpp|inc|S|asm|txt|tsbuildinfo|flow|yml)$|^(?:\.|tsconfig|CMakeLists|Makefile)/;
const licence = /^(?:licen[cs]e|notice|copying|copyright)/i;

/** The files of a package that are needed to run it, by path below its folder. */
export function filesOf(folder: string): readonly string[] {
  const files: string[] = [];
  const walk = (below: string): void => {
    for (const entry of readdirSync(path.join(folder, below), { withFileTypes: true })) {
      const name = path.posix.join(below, entry.name);
      if (entry.isDirectory()) {
        // This image's C library is glibc.
        if ((below === '' && unusedFolders.has(entry.name)) || entry.name.startsWith('musl_') || entry.name.startsWith('.')) continue;
        walk(name);
      } else if (entry.isFile() && (licence.test(entry.name) || !unusedFile.test(entry.name))) files.push(name);
    }
  };
  walk('');
  return files.sort();
}
