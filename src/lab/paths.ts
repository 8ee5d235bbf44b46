import { homedir } from 'node:os';
import path from 'node:path';

/** Where things are in a node's own root. */
export const paths = {
  /** The repository, read-only; the same in containers of the mesh's image. */
  checkout: '/opt/isthmus',
  /** The cluster's directory on the host: keys, database, logs. */
  cluster: '/var/lib/isthmus',
  /** Node's compile cache, shared by all processes of the lab and kept between labs. */
  compileCache: '/var/cache/isthmus',
  /** Programs of the host that pods run in place of an image's. */
  programs: '/var/lib/isthmus/programs',
  /** The plan of the cluster. */
  plan: '/var/lib/isthmus/cluster.json',
  /** What the supervisor tells the node about its static pods. */
  processes: '/var/lib/isthmus/processes.json',
} as const;

/** The lab's directory on the host: ISTHMUS_LAB_DIR, by default ~/.isthmus/lab. */
export function labDirectory(env: NodeJS.ProcessEnv = process.env): string {
  const given = env['ISTHMUS_LAB_DIR'];
  return given === undefined || given === '' ? path.join(homedir(), '.isthmus', 'lab') : path.resolve(given);
}

/** Files in the lab's directory. */
export function labFiles(directory: string) {
  return {
    /** What the running lab is, and which process holds it. */
    state: path.join(directory, 'lab.json'),
    /** What the supervisor is to make. */
    spec: path.join(directory, 'spec.json'),
    kubeconfig: path.join(directory, 'kubeconfig'),
    /** The root that `isthmus demo` makes for the lab's clusters. */
    meshCa: path.join(directory, 'ca'),
    /** Relative to the directory: a socket's path must be short. */
    socket: 'supervisor.sock',
    log: path.join(directory, 'supervisor.log'),
    mountPoint: path.join(directory, 'mnt'),
    cluster: (name: string) => path.join(directory, name),
  } as const;
}
