/** istioctl's global options: each takes a value, and may stand anywhere, also before the command. */
const globalOptions = new Set(['--context', '--kubeconfig', '-c', '--namespace', '-n', '--istioNamespace', '-i']);

/**
 * Moves istioctl's global options that stand before a command or its subcommand behind them, where the command reads
 * them: `--context=a multicluster expose` becomes `multicluster expose --context=a`. Everything else keeps its place.
 */
export function globalOptionsLast(args: readonly string[]): readonly string[] {
  const words: string[] = [];
  const moved: string[] = [];
  let at = 0;
  while (at < args.length && words.length < 2) {
    const arg = args[at] ?? '';
    const [name = ''] = arg.split('=', 1);
    if (globalOptions.has(name)) {
      const length = arg.includes('=') ? 1 : 2;
      moved.push(...args.slice(at, at + length));
      at += length;
    } else if (arg.startsWith('-')) {
      break;
    } else {
      words.push(arg);
      at += 1;
    }
  }
  return [...words, ...args.slice(at), ...moved];
}
