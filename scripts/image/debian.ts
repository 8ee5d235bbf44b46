import { spawnSync } from 'node:child_process';

/** An installed Debian package. */
export interface DebianPackage {
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
  /** Its paragraph of dpkg's status file, by which scanners find it in an image. */
  readonly status: string;
}

/** Which package each of these files is of; files of none are missing in the answer. */
export function debianPackages(files: readonly string[]): ReadonlyMap<string, DebianPackage> {
  const owners = new Map<string, string>();
  // dpkg knows a file by the name it was packed with, from before /lib became a link to /usr/lib or from after.
  const names = files.flatMap((file) => [file, file.replace(/^\/usr\//, '/')]);
  for (const line of run('dpkg', ['--search', '--', ...names]).split('\n')) {
    const [, owner, file] = /^(\S+?): (\/.*)$/.exec(line) ?? [];
    if (owner !== undefined && file !== undefined) owners.set(file, owner);
  }
  const packages = new Map<string, DebianPackage | undefined>();
  const found = new Map<string, DebianPackage>();
  for (const file of files) {
    const owner = owners.get(file) ?? owners.get(file.replace(/^\/usr\//, '/'));
    if (owner === undefined) continue;
    if (!packages.has(owner)) packages.set(owner, describe(owner));
    const described = packages.get(owner);
    if (described !== undefined) found.set(file, described);
  }
  return found;
}

function describe(owner: string): DebianPackage | undefined {
  const status = run('dpkg-query', ['--status', owner]);
  const field = (name: string): string | undefined => new RegExp(`^${name}: (.*)$`, 'm').exec(status)?.[1];
  const [name, version, architecture] = [field('Package'), field('Version'), field('Architecture')];
  if (name === undefined || version === undefined || architecture === undefined) return undefined;
  return { name, version, architecture, status };
}

/** Empty where there is no dpkg. Files of no package make dpkg fail, with the others answered all the same. */
function run(command: string, args: readonly string[]): string {
  const { error, stdout } = spawnSync(command, args, {
    encoding: 'utf8',
    env: { PATH: '/usr/bin:/bin', LC_ALL: 'C.UTF-8' },
    maxBuffer: 1 << 24,
  });
  return error === undefined ? stdout : '';
}
