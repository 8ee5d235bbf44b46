import { readFileSync, writeSync } from 'node:fs';

import type { ClusterPlan } from '../network/plan.ts';
import { paths } from '../paths.ts';
import { readyDescriptor } from './supervised-process.ts';

/** The plan of the cluster whose node this process is on. */
export function readPlan(): ClusterPlan {
  return JSON.parse(readFileSync(paths.plan, 'utf8')) as ClusterPlan;
}

/** Tells the supervisor that this process does its work. */
export function sayReady(): void {
  writeSync(readyDescriptor, 'ready\n');
}
export async function apiServerProcess(): Promise<void> {
  sayReady();
  await new Promise(() => setInterval(() => {}, 1e6));
}
export async function controllersProcess(): Promise<void> {
  sayReady();
  await new Promise(() => setInterval(() => {}, 1e6));
}
export async function nodeProcess(): Promise<void> {
  sayReady();
  await new Promise(() => setInterval(() => {}, 1e6));
}
