/** One time in which a pod was an endpoint, milliseconds since 1970; without an end it still is. */
interface Stay {
  readonly from: number;
  to?: number;
}

/**
 * Which pods were endpoints of a service for one cluster's clients, and when: by what the API servers said, at the moment at which a watch told.
 * A watch tells later than the API server knows, so that a pod is said to be gone a little late, never early.
 */
export class Timeline {
  readonly #stays = new Map<string, Stay[]>();
  #live: ReadonlySet<string> = new Set();
  /** When there was nobody who had to answer. */
  readonly #empty: Stay[] = [];

  get live(): ReadonlySet<string> {
    return this.#live;
  }

  /** These are the endpoints from `now` on. They may be asked; that they answer is promised only when they are `assured`. */
  update(now: number, pods: ReadonlySet<string>, assured = true): void {
    for (const pod of pods) {
      if (this.#live.has(pod)) continue;
      const stays = this.#stays.get(pod) ?? [];
      this.#stays.set(pod, stays);
      stays.push({ from: now });
    }
    for (const pod of this.#live) {
      const last = this.#stays.get(pod)?.at(-1);
      if (!pods.has(pod) && last !== undefined) last.to = now;
    }
    const empty = this.#empty.at(-1);
    const wasEmpty = empty !== undefined && empty.to === undefined;
    const isEmpty = pods.size === 0 || !assured;
    if (isEmpty && !wasEmpty) this.#empty.push({ from: now });
    if (!isEmpty && wasEmpty) empty.to = now;
    this.#live = new Set(pods);
  }

  /**
   * How long a pod had been gone at that time, milliseconds: 0 while it is an endpoint, or becomes one within `lag`; undefined when it never was one.
   */
  goneFor(pod: string, at: number, lag: number): { readonly ms: number; readonly since: number } | undefined {
    let since: number | undefined;
    for (const { from, to } of this.#stays.get(pod) ?? []) {
      if (at < from - lag) break;
      if (to === undefined || at <= to) return { ms: 0, since: at };
      since = to;
    }
    return since === undefined ? undefined : { ms: at - since, since };
  }

  /** The last time before `until` in which no pod had to answer; undefined: there always was one. */
  emptyBefore(until: number): { readonly from: number; readonly to?: number } | undefined {
    return this.#empty.findLast(({ from }) => from <= until);
  }

  /** Pods that left in this span of time, each with the moment. */
  departures(from: number, to: number): readonly { readonly pod: string; readonly at: number }[] {
    return [...this.#stays].flatMap(([pod, stays]) =>
      stays.flatMap(({ to: at }) => (at !== undefined && at >= from && at < to ? [{ pod, at }] : [])),
    );
  }
}
