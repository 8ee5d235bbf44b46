import type { Logger } from '../core/index.ts';
import { HttpEndpoints, type Endpoint } from './http-endpoints.ts';

export interface AdminOptions {
  readonly port: number;
  /** Pretty JSON. */
  readonly configDump: () => string;
  /** Loggers whose level can be changed. */
  readonly loggers: readonly Logger[];
  /** Begins the graceful end of the process. */
  readonly quit: () => void;
}

const levels: ReadonlySet<string> = new Set(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']);

/** The local admin port (15000), as `istioctl ztunnel-config` and operators use it. Loopback only. */
export function listenAdmin(options: AdminOptions): Promise<HttpEndpoints> {
  const initial = options.loggers.map(({ level }) => level);
  const configDump: Endpoint = { method: 'GET', handle: () => ({ type: 'application/json', body: options.configDump() }) };
  const logging: Endpoint = {
    method: 'POST',
    handle: ({ query }) => {
      const wanted = query.get('level');
      if (wanted !== null && wanted !== 'reset' && !levels.has(wanted)) {
        return { status: 400, body: `Invalid level provided: ${wanted}\nusage: POST /logging?level=${[...levels].join('|')}|reset\n` };
      }
      options.loggers.forEach((logger, index) => {
        if (wanted !== null) logger.level = wanted === 'reset' ? (initial[index] ?? 'info') : wanted;
      });
      return { body: `current log level is ${options.loggers[0]?.level ?? 'info'}\n` };
    },
  };
  const quit: Endpoint = {
    method: 'POST',
    handle: () => {
      setImmediate(options.quit);
      return { body: 'shutdown now\n' };
    },
  };
  const index: Endpoint = {
    method: 'GET',
    handle: () => ({ body: 'GET /config_dump\nPOST /logging?level=debug\nPOST /quitquitquit\n' }),
  };
  return HttpEndpoints.listen({
    host: '127.0.0.1',
    port: options.port,
    paths: { '/': index, '/config_dump': configDump, '/logging': logging, '/quitquitquit': quit },
  });
}
