import type { PodTemplate } from './objects.ts';
import { canonicalJson } from './equality.ts';

/** Kubernetes' alphabet for generated names: no vowels, so that no words appear, and no digits that look like letters. */
const safeAlphabet = 'bcdfghjklmnpqrstvwxz2456789';

/** The label that tells the pods of one ReplicaSet of a Deployment from those of the others. */
export const podTemplateHashLabel = 'pod-template-hash';

/** The label that names the revision of a DaemonSet or StatefulSet a pod was made from. */
export const controllerRevisionHashLabel = 'controller-revision-hash';

/**
 * The suffix that a template gives to names, such as `d955b94d5`: FNV-1a (32 bits) in Kubernetes' safe alphabet.
 * Equal templates give equal hashes whatever the order of their keys. The value differs from the one Kubernetes gives
 * the same template: that one hashes Go's printed form of the structure.
 *
 * @param collisions how often a hash of this template met a ReplicaSet with another template (status.collisionCount).
 */
export function templateHash(template: PodTemplate, collisions = 0): string {
  const text = canonicalJson(template) + (collisions === 0 ? '' : `#${String(collisions)}`);
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return safeEncode(String(hash));
}

/** client-go's rand.SafeEncodeString. */
function safeEncode(text: string): string {
  let encoded = '';
  for (const byte of Buffer.from(text)) encoded += safeAlphabet.charAt(byte % safeAlphabet.length);
  return encoded;
}
