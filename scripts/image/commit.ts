import { spawnSync } from 'node:child_process';

/**
 * Which commit this is and when it was made; SOURCE_DATE_EPOCH (seconds) sets the time. Without Git and without the variable the
 * time is 1970: never the clock's, of which two builds would differ.
 */
export function commitOf(root: string): { readonly created: Date; readonly revision: string | undefined } {
  const git = (...args: string[]): string | undefined => {
    const { status, stdout } = spawnSync('git', args, { cwd: root, encoding: 'utf8' });
    return status === 0 ? stdout.trim() : undefined;
  };
  const hash = git('rev-parse', 'HEAD');
  const changed = hash !== undefined && git('status', '--porcelain', '--untracked-files=no') !== '';
  const seconds = process.env['SOURCE_DATE_EPOCH'] ?? git('log', '-1', '--format=%ct') ?? '0';
  if (!/^\d+$/.test(seconds)) throw new Error(`SOURCE_DATE_EPOCH is "${seconds}", not seconds since 1970`);
  return { created: new Date(Number(seconds) * 1000), revision: hash === undefined ? undefined : `${hash}${changed ? '-dirty' : ''}` };
}
