import { randomBytes } from 'node:crypto';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

import { describeError, IsthmusError } from '../core/index.ts';

/**
 * Writes a file so that a reader sees the old content or the new one, never a part, and that a crash leaves one of the two.
 * `mode` holds from the first byte. Directories are made as needed, for their owner only. Throws PKI_FILE.
 */
export async function writeFileAtomic(path: string, content: string, mode: number): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}`;
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    const file = await open(temporary, 'wx', mode);
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw new IsthmusError('PKI_FILE', `cannot write ${path}: ${describeError(error)}`);
  }
}
