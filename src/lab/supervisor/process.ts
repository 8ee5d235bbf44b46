import { readFileSync } from 'node:fs';

import { createLogger, runUntilStopped } from '../../core/index.ts';
import type { LabSpec } from './lab-spec.ts';
import { supervise } from './supervise.ts';

/** The descriptors that `lab up` hands down: the way to tell it how it goes, then a listening socket for each cluster. */
const events = 3;
const firstListener = 4;

/** The process `isthmus lab supervise FILE`; the file holds the {@link LabSpec}. */
export async function superviseProcess(file: string): Promise<void> {
  const spec = JSON.parse(readFileSync(file, 'utf8')) as LabSpec;
  const listeners = spec.clusters.map((_, index) => firstListener + index);
  await runUntilStopped(createLogger('lab'), (signal) => supervise({ spec, listeners, events }, signal));
}
