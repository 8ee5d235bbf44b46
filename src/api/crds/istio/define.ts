import { defineCrd, type Crd, type Definition } from '../crd.ts';

export { age, column } from '../crd.ts';

/** Groups whose definitions carry a label of their own. */
const areas: Readonly<Record<string, string>> = { 'security.istio.io': 'security', 'telemetry.istio.io': 'telemetry' };

/** A definition with the labels that Helm and istioctl look for. */
export function define(definition: Definition): Crd {
  const area = areas[definition.group];
  return defineCrd(definition, {
    labels: { app: 'istio-pilot', chart: 'istio', heritage: 'Tiller', ...(area === undefined ? {} : { istio: area }), release: 'istio' },
    annotations: { 'helm.sh/resource-policy': 'keep' },
    categories: ['istio-io', definition.group.replaceAll('.', '-')],
  });
}
