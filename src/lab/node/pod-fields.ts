import type { Pod } from '../../api/kubernetes.ts';
import { IsthmusError } from '../../core/index.ts';

/** What the downward API says about a pod beyond its object. */
export interface PodFacts {
  readonly podIp: string;
  readonly hostIp: string;
}

/** The value of a downward API field path (`metadata.name`, `status.podIP`, `metadata.labels['app']`, …). Throws LAB_POD_INVALID for another. */
export function podField(pod: Pod, fieldPath: string, { podIp, hostIp }: PodFacts): string {
  const { metadata, spec } = pod;
  const entry = /^metadata\.(labels|annotations)\['(.*)'\]$/.exec(fieldPath);
  if (entry !== null) {
    const values = entry[1] === 'labels' ? metadata.labels : metadata.annotations;
    return values?.[entry[2] ?? ''] ?? '';
  }
  switch (fieldPath) {
    case 'metadata.name':
      return metadata.name;
    case 'metadata.namespace':
      return metadata.namespace ?? '';
    case 'metadata.uid':
      return metadata.uid ?? '';
    case 'metadata.labels':
      return formatMap(metadata.labels ?? {});
    case 'metadata.annotations':
      return formatMap(metadata.annotations ?? {});
    case 'spec.nodeName':
      return spec?.nodeName ?? '';
    case 'spec.serviceAccountName':
      return spec?.serviceAccountName ?? 'default';
    case 'status.podIP':
    case 'status.podIPs':
      return podIp;
    case 'status.hostIP':
    case 'status.hostIPs':
      return hostIp;
    default:
      throw new IsthmusError('LAB_POD_INVALID', `the downward API has no field "${fieldPath}"`);
  }
}

/** One `name="value"` a line, sorted, as in a downward API volume. */
function formatMap(values: Readonly<Record<string, string>>): string {
  return Object.entries(values)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${name}=${JSON.stringify(value)}`)
    .join('\n');
}

/** The value of a resourceFieldRef for a container, in units of `divisor` and rounded up. Without a limit the node's size counts, as in the kubelet. */
export function resourceField(
  resources: { readonly limits?: Quantities | undefined; readonly requests?: Quantities | undefined } | undefined,
  field: string,
  divisor: string | number | undefined,
  node: { readonly cpu: number; readonly memory: number },
): string {
  const [kind, name = ''] = field.split('.', 2);
  const given = kind === 'limits' ? resources?.limits?.[name] : resources?.requests?.[name];
  const fallback = kind === 'limits' ? (name === 'cpu' ? node.cpu : name === 'memory' ? node.memory : 0) : 0;
  const amount = given === undefined ? fallback : parseQuantity(String(given));
  const unit = parseQuantity(String(divisor ?? '1')) || 1;
  return String(Math.ceil(amount / unit));
}

type Quantities = Readonly<Record<string, string | number>>;

const suffixes: Readonly<Record<string, number>> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

function parseQuantity(text: string): number {
  const match = /^([+-]?[\d.]+(?:[eE][+-]?\d+)?)([a-zA-Z]{0,2})$/.exec(text);
  return match === null ? 0 : Number(match[1]) * (suffixes[match[2] ?? ''] ?? 1);
}
