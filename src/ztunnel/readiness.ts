import { HttpEndpoints, type Endpoint } from './http-endpoints.ts';

/** What has to be done before the process counts as ready; a gate may close again. */
export class Readiness {
  readonly #pending: Set<string>;

  constructor(gates: readonly string[]) {
    this.#pending = new Set(gates);
  }

  set(gate: string, ready: boolean): void {
    if (ready) this.#pending.delete(gate);
    else this.#pending.add(gate);
  }

  get pending(): readonly string[] {
    return [...this.#pending].sort();
  }

  /** The answer of `/healthz/ready`, as upstream gives it. */
  get endpoint(): Endpoint {
    return {
      method: 'GET',
      handle: () => {
        const { pending } = this;
        return pending.length === 0 ? { body: 'ready\n' } : { status: 500, body: `not ready, pending: ${pending.join(', ')}\n` };
      },
    };
  }

  /** Serves the probe. */
  listen(options: { readonly host: string; readonly port: number }): Promise<HttpEndpoints> {
    return HttpEndpoints.listen({ ...options, paths: { '/healthz/ready': this.endpoint } });
  }
}
