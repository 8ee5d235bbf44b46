import { closeSync, openSync } from 'node:fs';
import { DatabaseSync, type StatementSync } from 'node:sqlite';

import type { AnyObject } from '../../../api/kubernetes.ts';
import { Bucket, type HistoryWindow, type StoredObject } from './bucket.ts';

/**
 * Every object of the cluster: in memory for reads, in SQLite so that a killed server comes back with what it had
 * acknowledged. One writer, no locks: a write is synchronous from the check of its preconditions to its end.
 *
 * Versions are one counter for all resources; it grows with each write and never goes back, also over restarts. Objects
 * are never changed in place: whoever has one keeps it as it was.
 */
export class Store implements Disposable {
  readonly #database: DatabaseSync;
  readonly #put: StatementSync;
  readonly #remove: StatementSync;
  readonly #remember: StatementSync;
  readonly #buckets = new Map<string, Bucket>();
  readonly #window: HistoryWindow;
  #version = 0;

  /** `path`: the database file, readable by its owner only, or `:memory:`; `window`: how far each resource's watches can go back. */
  constructor(options: { path: string; window?: HistoryWindow }) {
    this.#window = options.window ?? { count: 8192, characters: 8 * 1024 * 1024 };
    // It holds Secrets. SQLite gives its other files the same mode.
    if (options.path !== ':memory:') closeSync(openSync(options.path, 'a', 0o600));
    this.#database = new DatabaseSync(options.path);
    this.#database.exec(`
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = NORMAL;
      CREATE TABLE IF NOT EXISTS objects (
        bucket TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL, body TEXT NOT NULL,
        PRIMARY KEY (bucket, namespace, name)
      );
      CREATE TABLE IF NOT EXISTS counter (id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER NOT NULL);
      INSERT OR IGNORE INTO counter VALUES (1, 0);
    `);
    this.#put = this.#database.prepare('INSERT OR REPLACE INTO objects (bucket, namespace, name, version, body) VALUES (?, ?, ?, ?, ?)');
    this.#remove = this.#database.prepare('DELETE FROM objects WHERE bucket = ? AND namespace = ? AND name = ?');
    this.#remember = this.#database.prepare('UPDATE counter SET version = ? WHERE id = 1');
    this.#load();
  }

  /** The version of the last write. */
  get version(): number {
    return this.#version;
  }

  /** The objects of one resource (`plural.group`), which exists as soon as it is asked for. */
  bucket(name: string): Bucket {
    let bucket = this.#buckets.get(name);
    if (bucket === undefined) {
      bucket = new Bucket({ name, floor: this.#version, window: this.#window });
      this.#buckets.set(name, bucket);
    }
    return bucket;
  }

  get(bucket: string, namespace: string, name: string): StoredObject | undefined {
    return this.bucket(bucket).get(namespace, name);
  }

  /** Creates or replaces; sets metadata.resourceVersion. The object belongs to the store from then on. */
  put(bucketName: string, object: AnyObject): StoredObject {
    const bucket = this.bucket(bucketName);
    const version = ++this.#version;
    object.metadata.resourceVersion = String(version);
    const stored: StoredObject = { object, version, json: JSON.stringify(object) };
    this.#put.run(bucketName, object.metadata.namespace ?? '', object.metadata.name, version, stored.json);
    bucket.put(stored);
    return stored;
  }

  /** Removes an object; the answer is its last state, at the version of the removal. */
  remove(bucketName: string, last: AnyObject): StoredObject {
    const bucket = this.bucket(bucketName);
    const version = ++this.#version;
    const object = { ...last, metadata: { ...last.metadata, resourceVersion: String(version) } };
    const stored: StoredObject = { object, version, json: JSON.stringify(object) };
    const namespace = last.metadata.namespace ?? '';
    // The counter is written with a removal only: a put leaves its version in its row.
    this.#database.exec('BEGIN');
    this.#remove.run(bucketName, namespace, last.metadata.name);
    this.#remember.run(version);
    this.#database.exec('COMMIT');
    bucket.remove(stored);
    return stored;
  }

  [Symbol.dispose](): void {
    this.#database.close();
  }

  #load(): void {
    const counter = this.#database.prepare('SELECT version FROM counter WHERE id = 1').get() as { version: number };
    this.#version = counter.version;
    const rows = this.#database.prepare('SELECT bucket, version, body FROM objects').all() as {
      bucket: string;
      version: number;
      body: string;
    }[];
    for (const row of rows) this.#version = Math.max(this.#version, row.version);
    for (const { bucket, version, body } of rows) {
      this.bucket(bucket).load({ object: JSON.parse(body) as AnyObject, version, json: body });
    }
  }
}
