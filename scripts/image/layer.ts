import path from 'node:path';

/** One entry of a layer. Everything belongs to root, with a fixed time: an image holds no trace of who built it when. */
export type LayerEntry =
  | { readonly kind: 'directory'; readonly path: string; readonly mode: number }
  | { readonly kind: 'file'; readonly path: string; readonly mode: number; readonly content: Uint8Array }
  | { readonly kind: 'link'; readonly path: string; readonly target: string };

/** Files that go into the image together; paths are relative to its root. */
export class Layer {
  /** What the image's history says about it. */
  readonly title: string;
  readonly #entries = new Map<string, LayerEntry>();

  constructor(title: string) {
    this.title = title;
  }

  directory(name: string, mode = 0o755): void {
    this.#add({ kind: 'directory', path: name, mode });
  }

  file(name: string, content: Uint8Array | string, mode = 0o644): void {
    this.#add({ kind: 'file', path: name, mode, content: typeof content === 'string' ? Buffer.from(content) : content });
  }

  /** A symbolic link. */
  link(name: string, target: string): void {
    this.#add({ kind: 'link', path: name, target });
  }

  /** By path, so that a folder comes before what is in it. */
  entries(): readonly LayerEntry[] {
    return [...this.#entries.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
  }

  #add(entry: LayerEntry): void {
    const parent = path.posix.dirname(entry.path);
    if (parent !== '.') {
      const found = this.#entries.get(parent);
      if (found === undefined) this.directory(parent);
      else if (found.kind !== 'directory') throw new Error(`${entry.path}: ${parent} is no folder`);
    }
    this.#entries.set(entry.path, entry);
  }
}
