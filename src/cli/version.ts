import { version } from '../api/version.ts';

/** `isthmus version`: one line, like istioctl's. */
export function run(): Promise<void> {
  process.stdout.write(`client version: ${version}\n`);
  return Promise.resolve();
}
