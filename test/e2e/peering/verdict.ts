import type { Timeline } from './timeline.ts';

/** A request as its client saw it. Times are milliseconds since 1970. */
export interface SentRequest {
  readonly start: number;
  readonly end: number;
  /** The client's port, by which the proxy's log tells it; 0 when there was no connection. */
  readonly localPort: number;
  /** `<cluster>/<pod>` that answered. */
  readonly answeredBy?: string | undefined;
  /** The port on which it did. */
  readonly answeredOn?: number | undefined;
  readonly error?: string | undefined;
}

/** A connection as the client's ztunnel logged it: whether or not anyone answered, it says whom it was for. */
export interface Attempt {
  readonly start: number;
  readonly localPort: number;
  /** `<cluster>/<pod>`. */
  readonly pod: string;
  readonly error?: string | undefined;
}

/** A request that went to a pod that was no endpoint any more. */
export interface StaleRequest {
  readonly at: number;
  readonly pod: string;
  /** When the pod was gone. */
  readonly since: number;
  readonly goneMs: number;
  readonly wasAnswered: boolean;
}

export interface Verdict {
  readonly stale: readonly StaleRequest[];
  /** Requests to what never was an endpoint; one sentence each. */
  readonly astray: readonly string[];
  /** Requests that failed though somebody was there to answer; one sentence each. */
  readonly failed: readonly string[];
  /** Requests that failed because nobody was there, or because their pod had left no longer ago than the bound. */
  readonly excused: number;
}

/** The issue's: no request to a pod that was gone for longer, milliseconds. */
export const staleBound = 5_000;

/** How much later than the product a watch of the test may hear of a new pod, milliseconds. */
export const watchLag = 1_000;

/** A client gives up after 3 s; the proxy's log line comes then. */
const attemptSpan = 4_000;

/** Judges all that one cluster's clients sent, by which pods were endpoints when. Pure. */
export function judge(timeline: Timeline, requests: readonly SentRequest[], attempts: readonly Attempt[]): Verdict {
  const attemptOf = matcher(attempts);
  const requestOf = matcher(requests);
  const stale: StaleRequest[] = [];
  const astray: string[] = [];
  const look = (pod: string, at: number, wasAnswered: boolean): void => {
    const gone = timeline.goneFor(pod, at, watchLag);
    if (gone === undefined) astray.push(`at ${time(at)} a request went to ${pod}, which never was an endpoint`);
    else if (gone.ms > 0) stale.push({ at, pod, since: gone.since, goneMs: gone.ms, wasAnswered });
  };
  for (const { start, answeredBy } of requests) if (answeredBy !== undefined) look(answeredBy, start, true);
  for (const attempt of attempts) if (requestOf(attempt)?.answeredBy === undefined) look(attempt.pod, attempt.start, false);

  const answered = requests.filter(({ answeredBy }) => answeredBy !== undefined);
  const failed: string[] = [];
  let excused = 0;
  for (const request of requests) {
    const { start, end, error } = request;
    if (error === undefined) continue;
    const tried = attemptOf(request);
    if (isExcusedByDeparture(timeline, request, tried) || isExcusedByEmptiness(timeline, request, answered)) excused++;
    else {
      const whom = tried === undefined ? 'nobody that the proxy knew' : tried.pod;
      failed.push(`at ${time(start)}, after ${String(end - start)} ms, for ${whom}: ${error}; the proxy: ${tried?.error ?? 'no error'}`);
    }
  }
  return { stale, astray, failed, excused };
}

/** The pod left while it was asked, or no longer ago than the bound allows. */
function isExcusedByDeparture(timeline: Timeline, { start, end }: SentRequest, tried: Attempt | undefined): boolean {
  if (tried === undefined) return false;
  const before = timeline.goneFor(tried.pod, start, watchLag)?.ms ?? Infinity;
  const after = timeline.goneFor(tried.pod, end, 0)?.ms ?? 0;
  return before <= staleBound && (before > 0 || after > 0);
}

/** There was nobody, or there had been nobody and no request had succeeded since. */
function isExcusedByEmptiness(timeline: Timeline, { start, end }: SentRequest, answered: readonly SentRequest[]): boolean {
  const empty = timeline.emptyBefore(end);
  if (empty === undefined) return false;
  const { to } = empty;
  return to === undefined || start <= to || !answered.some((success) => success.start > to && success.end < start);
}

/** Finds what the proxy logged for a request, or the request of a log line, by the client's port. */
function matcher<T extends { readonly start: number; readonly localPort: number }>(
  known: readonly T[],
): (other: { readonly start: number; readonly localPort: number }) => T | undefined {
  const byPort = new Map<number, T[]>();
  for (const one of known) {
    const same = byPort.get(one.localPort);
    if (same === undefined) byPort.set(one.localPort, [one]);
    else same.push(one);
  }
  return ({ start, localPort }) => byPort.get(localPort)?.find((one) => Math.abs(one.start - start) < attemptSpan);
}

function time(ms: number): string {
  return new Date(ms).toISOString().slice(11, 23);
}
