import { collectDefaultMetrics, Counter, Gauge, type Registry } from 'prom-client';

import { version } from '../api/version.ts';
import type { Mesh } from '../mesh/index.ts';
import type { XdsServer } from '../xds/index.ts';
import type { AuthoritySource } from './authority.ts';
import type { Caller } from './callers.ts';

/** istiod's metrics, under upstream's names where upstream has them. */
export interface IstiodMetrics {
  readonly refusedCallers: Counter;
  readonly rejectedResponses: Counter<'type'>;
}

export function istiodMetrics(options: {
  readonly registry: Registry;
  readonly mesh: Mesh;
  readonly connections: () => ReturnType<XdsServer<Caller>['connections']>;
  readonly authority: AuthoritySource;
}): IstiodMetrics {
  const { registry, mesh, connections, authority } = options;
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  new Gauge({ name: 'pilot_info', help: 'Version of this istiod.', labelNames: ['version'], registers }).set({ version }, 1);
  new Gauge({
    name: 'pilot_services',
    help: 'Services known to istiod.',
    registers,
    collect() {
      this.set(mesh.services.size);
    },
  });
  new Gauge({
    name: 'isthmus_workloads',
    help: 'Workloads known to istiod.',
    registers,
    collect() {
      this.set(mesh.workloads.size);
    },
  });
  new Gauge({
    name: 'pilot_xds',
    help: 'Clients connected for discovery.',
    labelNames: ['version'],
    registers,
    collect() {
      this.set({ version }, [...connections()].length);
    },
  });
  new Gauge({
    name: 'citadel_server_root_cert_expiry_timestamp',
    help: 'When the authority expires, seconds since 1970.',
    registers,
    collect() {
      this.set(authority.current.notAfter / 1000);
    },
  });
  return {
    refusedCallers: new Counter({
      name: 'citadel_server_authentication_failure_count',
      help: 'Callers that did not prove who they are.',
      registers,
    }),
    rejectedResponses: new Counter({
      name: 'pilot_total_xds_rejects',
      help: 'Responses that a client refused.',
      labelNames: ['type'],
      registers,
    }),
  };
}
