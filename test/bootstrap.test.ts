import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';

const script = path.resolve(import.meta.dirname, '../scripts/bootstrap.sh');

/** Calls bootstrap_system on a machine that has only the given programs, as root or not. */
function bootstrap({ programs, root, apt }: { programs: readonly string[]; root: boolean; apt?: string }) {
  const folder = mkdtempSync(path.join(tmpdir(), 'isthmus-bootstrap-'));
  for (const name of programs) program(folder, name, 'exit 0');
  program(folder, 'id', `echo ${root ? 0 : 1000}`);
  symlinkSync('/bin/grep', path.join(folder, 'grep'));
  const release = path.join(folder, 'os-release');
  writeFileSync(release, 'ID=debian\n');
  const log = path.join(folder, 'apt.log');
  writeFileSync(log, '');
  if (apt !== undefined) program(folder, 'apt-get', `echo "$*" >> ${log}\n${apt.replaceAll('FOLDER', folder)}`);
  // What it adds to PATH is taken off again, so that this machine's own programs are not seen.
  const commands = `command() { case $2 in /*) return 1;; esac; [ -x ${folder}/"$2" ]; }; . ${script}; bootstrap_system; echo done`;
  const { status, stdout, stderr } = spawnSync('/bin/sh', ['-euc', commands], {
    encoding: 'utf8',
    env: { PATH: folder, ISTHMUS_OS_RELEASE: release },
  });
  return { status, stdout: stdout.trim(), stderr: stderr.trim(), apt: readFileSync(log, 'utf8') };
}

function program(folder: string, name: string, body: string): void {
  const file = path.join(folder, name);
  writeFileSync(file, `#!/bin/sh\n${body}\n`);
  chmodSync(file, 0o755);
}

const all = ['nft', 'ip', 'curl', 'unshare', 'mount', 'hostname'];
const withoutTwo = ['curl', 'unshare', 'mount', 'hostname'];
const installs = ': > FOLDER/nft; : > FOLDER/ip; /bin/chmod 755 FOLDER/nft FOLDER/ip';

test('with all programs there, nothing is installed', () => {
  assert.deepEqual(bootstrap({ programs: all, root: true, apt: 'exit 1' }), { status: 0, stdout: 'done', stderr: '', apt: '' });
});

test('as root what is missing is installed', () => {
  const result = bootstrap({ programs: withoutTwo, root: true, apt: installs });
  assert.equal(result.status, 0, result.stderr);
  assert.equal(result.apt, 'install -qq -y --no-install-recommends nftables iproute2\n');
});

test('without package lists they are fetched first', () => {
  const result = bootstrap({
    programs: withoutTwo,
    root: true,
    apt: `case $1 in update) : > FOLDER/lists;; install) [ -e FOLDER/lists ] && { ${installs}; };; esac`,
  });
  assert.equal(result.status, 0, result.stderr);
  assert.deepEqual(
    result.apt.split('\n').map((line) => line.split(' ')[0]),
    ['install', 'update', 'install', ''],
  );
});

test('without the right to install, one line says what is missing and the command for it', () => {
  const result = bootstrap({ programs: withoutTwo, root: false, apt: installs });
  assert.equal(result.status, 2);
  assert.equal(result.apt, '');
  assert.equal(
    result.stderr,
    'isthmus: system packages are missing: nftables iproute2; get them as root with: apt-get install -y nftables iproute2 [ISTHMUS_BOOTSTRAP]',
  );
});

test('when apt-get fails, it exits 2', () => {
  const result = bootstrap({ programs: withoutTwo, root: true, apt: 'exit 100' });
  assert.equal(result.status, 2);
  assert.match(result.stderr, /apt-get could not install: nftables iproute2.*\[ISTHMUS_BOOTSTRAP\]$/);
});
