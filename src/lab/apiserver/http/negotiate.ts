import { notAcceptable } from '../status.ts';

/** How an answer is written. */
export interface Representation {
  readonly encoding: 'json' | 'yaml';
  /** `Table`, `PartialObjectMetadata` and the like; absent: the object as it is. */
  readonly as?: 'Table' | 'PartialObjectMetadata' | 'PartialObjectMetadataList';
}

interface MediaRange {
  readonly type: string;
  readonly parameters: ReadonlyMap<string, string>;
  readonly quality: number;
}

const available = ['application/json', 'application/yaml', 'application/vnd.kubernetes.protobuf'];

/** What the client accepts, best first; throws the API's 406 for what is not spoken here. Protobuf is read, but answers are JSON. */
export function negotiate(accept: string | undefined): Representation {
  const ranges = parseAccept(accept ?? '*/*');
  for (const { type, parameters } of ranges) {
    const encoding = encodingOf(type);
    if (encoding === undefined) continue;
    const as = parameters.get('as');
    if (as === undefined) return { encoding };
    const known = parameters.get('g') === 'meta.k8s.io' && (parameters.get('v') === 'v1' || parameters.get('v') === 'v1beta1');
    if (known && (as === 'Table' || as === 'PartialObjectMetadata' || as === 'PartialObjectMetadataList')) return { encoding, as };
  }
  throw notAcceptable(available);
}

/** Whether the client asks for discovery in one document (`as=APIGroupDiscoveryList`). */
export function wantsAggregatedDiscovery(accept: string | undefined): boolean {
  return parseAccept(accept ?? '').some(
    ({ parameters }) =>
      parameters.get('as') === 'APIGroupDiscoveryList' && parameters.get('g') === 'apidiscovery.k8s.io' && parameters.get('v') === 'v2',
  );
}

function encodingOf(type: string): 'json' | 'yaml' | undefined {
  switch (type) {
    case '*/*':
    case 'application/*':
    case 'application/json':
      return 'json';
    case 'application/yaml':
      return 'yaml';
    default:
      return undefined;
  }
}

/** Ranges by quality; the order of the header decides between equals. */
function parseAccept(header: string): MediaRange[] {
  const ranges = header.split(',').map((range): MediaRange => {
    const [type = '', ...rest] = range.split(';').map((part) => part.trim());
    const parameters = new Map(rest.map((part) => [part.split('=')[0] ?? '', part.split('=').slice(1).join('=')] as const));
    return { type: type === '' ? '*/*' : type.toLowerCase(), parameters, quality: Number(parameters.get('q') ?? 1) };
  });
  return ranges.sort((a, b) => b.quality - a.quality);
}
