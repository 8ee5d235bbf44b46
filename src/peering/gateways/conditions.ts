import type { Condition } from '../../api/kubernetes.ts';

/** A condition as it is decided, without its time. */
export type Verdict = Pick<Condition, 'type' | 'status' | 'reason' | 'message'>;

/** The verdicts as conditions. A condition keeps its time as long as its status does not change. */
export function conditions(
  verdicts: readonly Verdict[],
  existing: readonly { readonly type: string; readonly status: string; readonly lastTransitionTime: string }[] | undefined,
  generation: number | undefined,
): Condition[] {
  const now = `${new Date().toISOString().slice(0, 19)}Z`;
  return verdicts.map((verdict) => {
    const old = existing?.find(({ type }) => type === verdict.type);
    const lastTransitionTime = old?.status === verdict.status ? old.lastTransitionTime : now;
    return { ...verdict, lastTransitionTime, ...(generation !== undefined && { observedGeneration: generation }) };
  });
}
