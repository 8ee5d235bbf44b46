import { readFileSync } from 'node:fs';

/** One access log line, taken apart. */
export interface LogLine {
  readonly level: string;
  readonly message: string;
  readonly fields: Readonly<Record<string, string>>;
}

/** What upstream's two ztunnels logged in one situation. */
export interface Scenario {
  readonly client: readonly LogLine[];
  readonly server: readonly LogLine[];
}

/** The recorded situations by their titles. */
export function readScenarios(): ReadonlyMap<string, Scenario> {
  const text = readFileSync(new URL('../fixtures/captures/scenarios.txt', import.meta.url), 'utf8');
  const scenarios = new Map<string, Scenario>();
  for (const section of text.split(/^### /m).slice(1)) {
    const title = section.slice(0, section.indexOf('\n'));
    const [, afterClient = ''] = section.split("-- client's ztunnel:\n");
    const [client = '', server = ''] = afterClient.split("-- server's ztunnel:\n");
    scenarios.set(title, { client: parseAccessLog(client), server: parseAccessLog(server) });
  }
  return scenarios;
}

/** The lines of scope `access` in a log. */
export function parseAccessLog(text: string): LogLine[] {
  const lines: LogLine[] = [];
  for (const line of text.split('\n')) {
    const [time = '', level = '', scope, message = '', rest = ''] = line.split('\t');
    if (scope !== 'access' || !/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/.test(time)) continue;
    const fields: Record<string, string> = {};
    for (const [, name, quoted, bare] of rest.matchAll(/([\w.]+)=(?:("(?:[^"\\]|\\.)*")|(\S*))(?: |$)/g)) {
      if (name !== undefined) fields[name] = quoted === undefined ? (bare ?? '') : String(JSON.parse(quoted));
    }
    lines.push({ level, message, fields });
  }
  return lines;
}
