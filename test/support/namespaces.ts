import { NetworkNamespace, runCommand } from '../../src/linux/index.ts';

/** For tests: two namespaces joined by a cable, as two pods on one node network. Disposing of it takes everything away. */
export interface Pair extends Disposable {
  readonly a: NetworkNamespace;
  readonly b: NetworkNamespace;
}

/** Addresses 192.0.2.1 (a) and 192.0.2.2 (b), 2001:db8::1 and 2001:db8::2; default routes to each other. */
export async function namespacePair(): Promise<Pair> {
  const a = NetworkNamespace.create();
  const b = NetworkNamespace.create();
  const ends = [
    { namespace: a, own: '1', peer: '2' },
    { namespace: b, own: '2', peer: '1' },
  ];
  await runCommand('ip', ['link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', `/proc/${process.pid}/fd/${b.fd}`], {
    namespace: a,
  });
  for (const { namespace, own } of ends) {
    await ip(namespace, [
      'link set lo up',
      'link set eth0 up',
      `address add 192.0.2.${own}/24 dev eth0`,
      `address add 2001:db8::${own}/64 dev eth0 nodad`,
    ]);
  }
  for (const { namespace, peer } of ends) {
    await ip(namespace, [`route add default via 192.0.2.${peer}`, `-6 route add default via 2001:db8::${peer}`]);
  }
  return {
    a,
    b,
    [Symbol.dispose]: () => {
      a[Symbol.dispose]();
      b[Symbol.dispose]();
    },
  };
}

/** Runs lines of `ip` in a namespace. */
export async function ip(namespace: NetworkNamespace, lines: readonly string[]): Promise<void> {
  for (const line of lines) await runCommand('ip', line.split(' '), { namespace });
}
