export function writeKubeconfig(..._: unknown[]): void {}
