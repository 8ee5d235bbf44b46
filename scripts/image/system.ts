import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, realpathSync } from 'node:fs';
import path from 'node:path';

/** A file of this system that goes into the image. */
export interface SystemFile {
  /** Where it is here, symbolic links followed. */
  readonly source: string;
  /** Where it is in the image, below its root. */
  readonly target: string;
  readonly mode: number;
}

/** The CNI agent's: it programs pods' network namespaces with them. */
const programs = ['nft', 'ip'];
const programFolders = ['/usr/sbin', '/usr/bin', '/sbin', '/bin'];

/** The dynamic loader's path is part of each architecture's ABI. */
const loaders: Readonly<Record<string, string>> = { x64: '/lib64/ld-linux-x86-64.so.2', arm64: '/lib/ld-linux-aarch64.so.1' };

/** Loaded by name when a host name is looked up; in glibc itself since 2.34. */
const resolverLibraries = ['libnss_files.so.2', 'libnss_dns.so.2', 'libresolv.so.2'];

/**
 * What the image takes from this system: the programs, and the libraries that they and the given binaries are linked with, found
 * by asking the dynamic loader itself. In the image they are where this system's loader looks for them without a cache.
 */
export function systemFiles(binaries: readonly string[]): readonly SystemFile[] {
  const loader = loaders[process.arch];
  if (loader === undefined || !existsSync(loader)) throw new Error(`no dynamic loader of glibc for ${process.arch} on this system`);
  const found = programs.map((name) => findProgram(name));
  const libraries = new Set([...binaries, ...found].flatMap((file) => librariesOf(loader, file)));
  const libc = [...libraries].find((file) => path.basename(file) === 'libc.so.6');
  for (const name of resolverLibraries) {
    const file = path.join(path.dirname(libc ?? loader), name);
    if (existsSync(file)) libraries.add(file);
  }
  const files = [
    ...found.map((file) => ({ source: realpathSync(file), target: inImage(realpathSync(file)), mode: 0o755 })),
    ...[...libraries].map((file) => ({
      source: realpathSync(file),
      target: inImage(path.join(realpathSync(path.dirname(file)), path.basename(file))),
      mode: path.basename(file) === path.basename(loader) ? 0o755 : 0o644,
    })),
  ];
  return files.sort((a, b) => (a.target < b.target ? -1 : 1));
}

/** The image's /bin, /sbin, /lib and /lib64 are links into /usr, whatever they are here. */
function inImage(file: string): string {
  return file.replace(/^\/(?=(?:bin|sbin|lib|lib64)\/)/, '/usr/').slice(1);
}

function findProgram(name: string): string {
  const found = programFolders.map((folder) => path.join(folder, name)).find((file) => existsSync(file));
  if (found === undefined) throw new Error(`${name} is missing on this system: the image takes it from here`);
  return found;
}

/** Every line is `name => path (address)`, or `path (address)` for the loader; the kernel's own vDSO has no file. */
function librariesOf(loader: string, file: string): readonly string[] {
  const output = execFileSync(loader, ['--list', file], { encoding: 'utf8', env: {} });
  if (output.includes('not found')) throw new Error(`${file}: libraries are missing on this system:\n${output}`);
  return output.split('\n').flatMap((line) => /(?:=> |^\s)(\/\S+) \(0x/.exec(line)?.[1] ?? []);
}

/** The certificate authorities of the package ca-certificates, without what this machine's owner may have added to them. */
export function certificateAuthorities(): { readonly sources: readonly string[]; readonly bundle: string } {
  const list = '/etc/ca-certificates.conf';
  if (!existsSync(list))
    throw new Error('certificates are missing on this system; get them as root with: apt-get install -y ca-certificates');
  const sources = readFileSync(list, 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('mozilla/'))
    .map((line) => path.join('/usr/share/ca-certificates', line))
    .sort();
  if (sources.length === 0) throw new Error(`${list} names no certificate of Mozilla's`);
  return { sources, bundle: sources.map((file) => `${readFileSync(file, 'utf8').trimEnd()}\n`).join('') };
}
