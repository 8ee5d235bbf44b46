import type { World } from './world.ts';

/** What was measured, a line each case: of both clusters' clients together. */
export function measurements(world: World): readonly string[] {
  const rows = world.records.map((record) => {
    const within = (at: number): boolean => at >= record.start && at < record.end;
    const sides = world.sides.map((side) => ({ side, verdict: world.verdict(side) }));
    const requests = sides.flatMap(({ side }) => side.load.requests.filter(({ start }) => within(start)));
    const gone = sides.flatMap(({ side }) => side.timeline.departures(record.start, record.end));
    const stale = sides.flatMap(({ verdict }) => verdict.stale.filter(({ since }) => within(since)));
    return [
      record.name,
      `${((record.end - record.start) / 1000).toFixed(1)} s`,
      String(requests.length),
      String(requests.filter(({ error }) => error !== undefined).length),
      String(gone.length),
      String(stale.length),
      `${String(Math.max(0, ...stale.map(({ goneMs }) => goneMs)))} ms`,
      `${String(record.worstLag)} ms`,
      record.error === undefined ? 'ok' : 'failed',
    ];
  });
  const heading = ['case', 'took', 'requests', 'failed', 'gone', 'stale', 'stalest', 'entries behind', 'result'];
  const widths = heading.map((title, at) => Math.max(title.length, ...rows.map((row) => row[at]?.length ?? 0)));
  return [heading, ...rows].map((row) =>
    row.map((cell, at) => (at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0))).join('  '),
  );
}
