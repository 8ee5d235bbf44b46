import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

import { debianPackages, type DebianPackage } from './debian.ts';
import { Layer } from './layer.ts';
import { filesOf, withDependencies, type NpmPackage } from './packages.ts';
import { buildProgram } from './program.ts';
import { billOfMaterials, type TakenFile } from './sbom.ts';
import { certificateAuthorities, systemFiles } from './system.ts';

/** What is built from, and what the image will say of it. */
export interface Source {
  /** The repository, its dependencies installed. */
  readonly root: string;
  readonly version: string;
  readonly created: Date;
  readonly revision: string | undefined;
}

export interface BuiltLayers {
  /** What changes least comes first. */
  readonly layers: readonly Layer[];
  /** CycloneDX. */
  readonly sbom: string;
  readonly debian: readonly DebianPackage[];
  readonly npm: readonly NpmPackage[];
}

/** Where the program is in the image, as in the lab's containers. */
const home = 'opt/isthmus';

/** The user of everything that needs no rights on its node; upstream's number. */
export const user = 1337;

const settings = {
  'etc/passwd': `root:x:0:0:root:/:/sbin/nologin\nisthmus:x:${user}:${user}:isthmus:/:/sbin/nologin\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n`,
  'etc/group': `root:x:0:\nisthmus:x:${user}:\nnogroup:x:65534:\n`,
  // nft looks up in it what number `tcp` has.
  'etc/protocols': 'ip 0 IP\nicmp 1 ICMP\ntcp 6 TCP\nudp 17 UDP\nipv6-icmp 58 IPv6-ICMP\n',
  'etc/nsswitch.conf': 'passwd: files\ngroup: files\nhosts: files dns\nprotocols: files\nservices: files\n',
};

/** The shebang brings the flag of V8 that all of the mesh's processes run with (src/lab/images/table.ts). */
const executable = "#!/usr/bin/node --max-semi-space-size=8\nimport '../src/cli/main.js';\n";

export function buildLayers(source: Source): BuiltLayers {
  const { root, version, created, revision } = source;
  const program = buildProgram(root);
  const node = withDependencies(root, [`node-linux-${process.arch}`]);
  const npm = withDependencies(root, program.packages);

  const modules = new Layer('npm packages');
  const native: string[] = [];
  for (const { location } of npm) {
    for (const name of filesOf(path.join(root, location))) {
      const file = path.join(root, location, name);
      modules.file(`${home}/${location}/${name}`, readFileSync(file));
      if (name.endsWith('.node')) native.push(file);
    }
  }
  const { layer: system, taken } = systemLayer(root, native);

  const contents = { version, created, revision, distribution: distribution(), npm: [...node, ...npm], files: taken };
  const sbom = `${JSON.stringify(billOfMaterials(contents), null, 1)}\n`;
  const own = new Layer(`isthmus ${version}`);
  for (const [name, text] of program.files) own.file(`${home}/${name}`, text);
  own.file(`${home}/LICENSE`, readFileSync(path.join(root, 'LICENSE')));
  own.file(`${home}/bin/isthmus.js`, executable, 0o755);
  own.link('usr/bin/isthmus', `/${home}/bin/isthmus.js`);
  own.file('usr/share/isthmus/sbom.cdx.json', sbom);
  return { layers: [system, modules, own], sbom, debian: distinct(taken), npm: contents.npm };
}

function systemLayer(root: string, native: readonly string[]): { readonly layer: Layer; readonly taken: readonly TakenFile[] } {
  const layer = new Layer(`system of ${distribution()}, Node`);
  for (const name of ['bin', 'sbin', 'lib', 'lib64']) {
    layer.directory(`usr/${name}`);
    layer.link(name, `usr/${name}`);
  }
  // Where runtimes mount; a read-only root has to have them.
  for (const name of ['dev', 'proc', 'sys', 'run', 'etc', 'var']) layer.directory(name);
  layer.link('var/run', '/run');
  layer.directory('tmp', 0o1777);
  for (const [name, text] of Object.entries(settings)) layer.file(name, text);

  const nodePackage = path.join(root, 'node_modules', `node-linux-${process.arch}`);
  const node = path.join(nodePackage, 'bin/node');
  layer.file('usr/bin/node', readFileSync(node), 0o755);
  layer.file('usr/share/doc/node/LICENSE', readFileSync(path.join(nodePackage, 'LICENSE')));

  const files = systemFiles([node, ...native]);
  const authorities = certificateAuthorities();
  const owners = debianPackages([...files.map(({ source }) => source), ...authorities.sources.slice(0, 1)]);
  const taken: TakenFile[] = [];
  const take = (target: string, content: Uint8Array, mode: number, debian: DebianPackage | undefined): void => {
    layer.file(target, content, mode);
    taken.push({ path: `/${target}`, content, debian });
  };
  for (const { source, target, mode } of files) take(target, readFileSync(source), mode, owners.get(source));
  take('etc/ssl/certs/ca-certificates.crt', Buffer.from(authorities.bundle), 0o644, owners.get(authorities.sources[0] ?? ''));

  // What scanners look for, and the licences.
  if (existsSync('/etc/os-release')) layer.file('etc/os-release', readFileSync('/etc/os-release'));
  for (const { name, status } of distinct(taken)) {
    layer.file(`var/lib/dpkg/status.d/${name}`, status);
    const copyright = `usr/share/doc/${name}/copyright`;
    if (existsSync(`/${copyright}`)) layer.file(copyright, readFileSync(`/${copyright}`));
  }
  return { layer, taken };
}

function distinct(taken: readonly TakenFile[]): readonly DebianPackage[] {
  const packages = new Map(taken.flatMap(({ debian }) => (debian === undefined ? [] : [[debian.name, debian] as const])));
  return [...packages.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

function distribution(): string {
  if (!existsSync('/etc/os-release')) return 'linux';
  const text = readFileSync('/etc/os-release', 'utf8');
  const field = (name: string): string | undefined => new RegExp(`^${name}="?([^"\n]*)"?$`, 'm').exec(text)?.[1];
  return [field('ID') ?? 'linux', field('VERSION_ID')].filter((part) => part !== undefined).join('-');
}
