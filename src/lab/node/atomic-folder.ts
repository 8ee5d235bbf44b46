import { mkdirSync, readdirSync, readlinkSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/** A file of a projected volume. */
export interface ProjectedFile {
  /** Relative, without `..`; may have folders. */
  readonly path: string;
  readonly content: Buffer;
  /** Permission bits. */
  readonly mode: number;
}

const dataLink = '..data';

/**
 * Makes a folder hold exactly these files, all of them changed at one moment, as the kubelet's AtomicWriter does: they are
 * in a hidden folder, `..data` links to it, and each name in the volume is a link through `..data`. Who watches a file sees
 * the link change.
 */
export function writeAtomically(folder: string, files: readonly ProjectedFile[]): void {
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  const before = readIfLink(path.join(folder, dataLink));
  const now = `..${new Date().toISOString().replaceAll(/[-:T]/g, '_').replace('Z', '')}.${process.hrtime.bigint().toString()}`;
  for (const file of files) {
    const target = path.join(folder, now, file.path);
    mkdirSync(path.dirname(target), { recursive: true, mode: 0o755 });
    writeFileSync(target, file.content, { mode: file.mode });
  }
  mkdirSync(path.join(folder, now), { recursive: true, mode: 0o755 });
  symlinkSync(now, path.join(folder, `${dataLink}_tmp`));
  renameSync(path.join(folder, `${dataLink}_tmp`), path.join(folder, dataLink));
  const names = new Set(files.map((file) => file.path.split('/')[0] ?? ''));
  for (const name of names) {
    if (readIfLink(path.join(folder, name)) === undefined) symlinkSync(path.join(dataLink, name), path.join(folder, name));
  }
  for (const name of readdirSync(folder)) {
    if (!name.startsWith('..') && !names.has(name)) rmSync(path.join(folder, name), { recursive: true, force: true });
  }
  if (before !== undefined) rmSync(path.join(folder, before), { recursive: true, force: true });
}

function readIfLink(file: string): string | undefined {
  try {
    return readlinkSync(file);
  } catch {
    return undefined;
  }
}
