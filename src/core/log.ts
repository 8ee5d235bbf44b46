import { pino, type Logger } from 'pino';

export type { Logger } from 'pino';

const levels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;

/**
 * A structured logger for one process: JSON lines on stderr, written at once so that the last line before a crash is kept.
 *
 * The level comes from ISTHMUS_LOG (`trace` to `fatal`, or `silent`; default `info`; an unknown one counts as `info`).
 * Secrets never go into a log: keys, tokens and Secret contents are not passed to it.
 */
export function createLogger(component: string): Logger {
  const wanted = process.env['ISTHMUS_LOG'];
  const level = levels.find((name) => name === wanted) ?? 'info';
  return pino(
    { base: { component }, level, timestamp: pino.stdTimeFunctions.isoTime, formatters: { level: (label) => ({ level: label }) } },
    pino.destination({ dest: 2, sync: true }),
  );
}
