import { policyKey, type Policy } from './policy.ts';

/** Authorization policies by key and by what they apply to. */
export class PolicyIndex {
  readonly #byKey = new Map<string, Policy>();
  readonly #byNamespace = new Map<string, Map<string, Policy>>();
  readonly #global = new Map<string, Policy>();

  get size(): number {
    return this.#byKey.size;
  }

  values(): IterableIterator<Policy> {
    return this.#byKey.values();
  }

  get(key: string): Policy | undefined {
    return this.#byKey.get(key);
  }

  /**
   * The policies a destination is under: those of its namespace, the global ones, and those that select it by key.
   * `missing` names selected keys that are not known.
   */
  applicable(
    namespace: string,
    selected: readonly string[],
  ): { readonly policies: readonly Policy[]; readonly missing: readonly string[] } {
    const policies = [...(this.#byNamespace.get(namespace)?.values() ?? []), ...this.#global.values()];
    const missing: string[] = [];
    for (const key of selected) {
      const policy = this.#byKey.get(key);
      if (policy === undefined) missing.push(key);
      else policies.push(policy);
    }
    return { policies, missing };
  }

  set(policy: Policy): void {
    const key = policyKey(policy);
    this.delete(key);
    this.#byKey.set(key, policy);
    if (policy.scope === 'Global') this.#global.set(key, policy);
    else if (policy.scope === 'Namespace') {
      const inNamespace = this.#byNamespace.get(policy.namespace);
      if (inNamespace === undefined) this.#byNamespace.set(policy.namespace, new Map([[key, policy]]));
      else inNamespace.set(key, policy);
    }
  }

  delete(key: string): void {
    const policy = this.#byKey.get(key);
    if (policy === undefined) return;
    this.#byKey.delete(key);
    this.#global.delete(key);
    const inNamespace = this.#byNamespace.get(policy.namespace);
    if (inNamespace?.delete(key) === true && inNamespace.size === 0) this.#byNamespace.delete(policy.namespace);
  }
}
