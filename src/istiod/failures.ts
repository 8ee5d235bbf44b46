import type { KubeObject } from '../api/kubernetes.ts';
import type { Collection, DerivationFailure } from '../collections/index.ts';
import { describeError, IsthmusError, type Logger } from '../core/index.ts';
import type { EventRecorder } from '../kube/index.ts';
import type { MeshInputs } from '../mesh/index.ts';

/** Which objects the keys of a derivation name, for those that refuse objects. */
const inputOf: Readonly<Record<string, keyof MeshInputs>> = {
  kubernetesServices: 'services',
  serviceEntryServices: 'serviceEntries',
};

/** Tells of an object that the mesh cannot be derived from: in the log, and in an Event about it where its kind is known. */
export function reportFailure(options: {
  readonly failure: DerivationFailure;
  readonly inputs: MeshInputs;
  readonly events: EventRecorder;
  readonly log: Logger;
}): void {
  const { failure, inputs, events, log } = options;
  const { collection, key, error } = failure;
  log.warn({ collection, key, error: describeError(error) }, 'object cannot be used');
  const input = inputOf[collection];
  const about = input === undefined ? undefined : (inputs[input] as Collection<KubeObject>).get(key);
  if (about === undefined || !(error instanceof IsthmusError)) return;
  void events.record({ about, type: 'Warning', reason: error.code, message: error.message });
}
