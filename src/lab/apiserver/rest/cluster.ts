import { randomBytes, randomUUID } from 'node:crypto';

import type { UserInfo } from '../auth/user.ts';
import type { Registry } from '../registry.ts';
import type { ServiceAddresses } from '../admission/service-addresses.ts';
import type { Store } from '../storage/store.ts';

/** What every operation on objects works with. */
export interface Cluster {
  readonly store: Store;
  readonly registry: Registry;
  readonly serviceAddresses: ServiceAddresses;
  /** How often watches get bookmarks, milliseconds. */
  readonly bookmarkEvery: number;
  /** Milliseconds since 1970. */
  now(): number;
}

/** How a write was asked for. */
export interface WriteOptions {
  readonly user: UserInfo;
  /** Who owns the written fields: the query's `fieldManager`, or the program that writes. */
  readonly fieldManager: string;
  readonly dryRun: boolean;
  /** What becomes of unknown fields. */
  readonly fieldValidation: 'Strict' | 'Warn' | 'Ignore';
  /** Told to the client in Warning headers. */
  readonly warnings: string[];
}

/** As metadata has times: whole seconds. */
export function timestamp(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}

export const newUid = (): string => randomUUID();

/** Letters and digits that make neither words nor doubts, as Kubernetes ends generated names with. */
const suffixAlphabet = 'bcdfghjklmnpqrstvwxz2456789';

/** Five random characters. */
export function randomSuffix(): string {
  return [...randomBytes(5)].map((byte) => suffixAlphabet[byte % suffixAlphabet.length] ?? 'x').join('');
}
