import { createHash } from 'node:crypto';
import path from 'node:path';

import { paths } from '../paths.ts';

/** What a container image is in the lab: a name for programs of the host and of this repository. */
export interface Image {
  /** With registry and tag: `docker.io/curlimages/curl:latest`. */
  readonly name: string;
  /** `name@sha256:…`, over this description: there are no layers. */
  readonly id: string;
  /** The image's ENTRYPOINT: what a container's `command` replaces. */
  readonly entrypoint: readonly string[];
  /** The image's CMD: what a container's `args`, or its `command`, replaces. */
  readonly arguments: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly workingDir: string;
  /** Whether the repository is at /opt/isthmus in its containers. */
  readonly checkout: boolean;
}

interface Entry {
  /** Without the tag. */
  readonly repository: string;
  readonly entrypoint: readonly string[];
  readonly arguments?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly checkout?: boolean;
}

const node = path.join(paths.checkout, path.relative(path.resolve(import.meta.dirname, '../../..'), process.execPath));

/** Node's own start costs less with what it compiled for an earlier container. */
const nodeEnv = { NODE_COMPILE_CACHE: paths.compileCache, NODE_NO_WARNINGS: '1' };

const helloworld = path.join(paths.checkout, 'src/lab/images/helloworld.ts');

/** In a container of 1 CPU and little memory each of these would have small heaps too. */
const entries: readonly Entry[] = [
  { repository: 'docker.io/curlimages/curl', entrypoint: ['/usr/bin/curl'], arguments: ['--help'] },
  ...(['v1', 'v2'] as const).map((version) => ({
    repository: `docker.io/istio/examples-helloworld-${version}`,
    entrypoint: [node, '--max-old-space-size=32', '--max-semi-space-size=1', helloworld],
    env: { ...nodeEnv, SERVICE_VERSION: version },
    checkout: true,
  })),
  {
    repository: 'docker.io/isthmus/isthmus',
    entrypoint: [node, '--max-semi-space-size=8', path.join(paths.checkout, 'src/cli/main.ts')],
    // The node has the same Node at the same place: the CNI agent need not copy its own there.
    env: { ...nodeEnv, CNI_NODE_BINARY: node },
    checkout: true,
  },
];

/** The image with this reference, whatever its tag; undefined when the lab has none. */
export function findImage(reference: string): Image | undefined {
  const { repository, tag } = parseReference(reference);
  const entry = entries.find((candidate) => candidate.repository === repository);
  if (entry === undefined) return undefined;
  const digest = createHash('sha256').update(JSON.stringify(entry)).digest('hex');
  return {
    name: `${repository}:${tag}`,
    id: `${repository}@sha256:${digest}`,
    entrypoint: entry.entrypoint,
    arguments: entry.arguments ?? [],
    env: { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', ...entry.env },
    workingDir: '/',
    checkout: entry.checkout ?? false,
  };
}

/** Names of all images, for the message about an unknown one. */
export function imageNames(): readonly string[] {
  return entries.map(({ repository }) => repository);
}

/** Completes a reference as Docker does: `curlimages/curl` is `docker.io/curlimages/curl:latest`. A digest counts as a tag. */
export function parseReference(reference: string): { readonly repository: string; readonly tag: string } {
  const [withTag = '', digest] = reference.split('@', 2);
  const colon = withTag.lastIndexOf(':');
  const hasTag = colon > withTag.lastIndexOf('/');
  const name = hasTag ? withTag.slice(0, colon) : withTag;
  const tag = digest ?? (hasTag ? withTag.slice(colon + 1) : 'latest');
  const [first = '', ...rest] = name.split('/');
  if (rest.length === 0) return { repository: `docker.io/library/${name}`, tag };
  const isRegistry = first.includes('.') || first.includes(':') || first === 'localhost';
  return { repository: isRegistry ? name : `docker.io/${name}`, tag };
}
