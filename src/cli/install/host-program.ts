/** How a container runs a program of its node instead of its image's: what to merge into the container and the pod. */
export interface HostProgram {
  readonly command: readonly string[];
  readonly volumeMount: { readonly name: string; readonly mountPath: string; readonly readOnly: true };
  readonly volume: { readonly name: string; readonly hostPath: { readonly path: string; readonly type: 'File' } };
}

/** The program at `file` on the node, for the container always at `/opt/istio/<name>`. */
export function hostProgram(name: string, file: string): HostProgram {
  const mountPath = `/opt/istio/${name}`;
  return {
    command: [mountPath],
    volumeMount: { name: 'program', mountPath, readOnly: true },
    volume: { name: 'program', hostPath: { path: file, type: 'File' } },
  };
}
