import type { Pod } from '../../api/kubernetes.ts';
import { type KubeClient } from '../../kube/index.ts';

interface Held {
  readonly token: string;
  /** Milliseconds since 1970. */
  readonly issuedAt: number;
  readonly expiresAt: number;
}

/** Service account tokens for pods, by TokenRequest: bound to the pod, renewed after 80 % of their life. */
export class ServiceAccountTokens {
  readonly #client: KubeClient;
  readonly #held = new Map<string, Held>();

  constructor(client: KubeClient) {
    this.#client = client;
  }

  /** A token with enough life left, and when to ask again. Throws what the API server says. */
  async get(
    pod: Pod,
    { audience, expirationSeconds = 3600 }: { readonly audience?: string | undefined; readonly expirationSeconds?: number | undefined },
  ): Promise<{ readonly token: string; readonly refreshInMs: number }> {
    const key = JSON.stringify([pod.metadata.uid, audience, expirationSeconds]);
    let held = this.#held.get(key);
    if (held === undefined || refreshAt(held) <= Date.now()) {
      held = await this.#request(pod, audience, expirationSeconds);
      this.#held.set(key, held);
    }
    return { token: held.token, refreshInMs: Math.max(1_000, refreshAt(held) - Date.now()) };
  }

  /** The pod is gone. */
  release(podUid: string): void {
    const prefix = JSON.stringify([podUid]).slice(0, -1);
    for (const key of this.#held.keys()) if (key.startsWith(`${prefix},`)) this.#held.delete(key);
  }

  async #request(pod: Pod, audience: string | undefined, expirationSeconds: number): Promise<Held> {
    const { name, namespace = 'default', uid } = pod.metadata;
    const account = pod.spec?.serviceAccountName ?? 'default';
    const issuedAt = Date.now();
    const answer = await this.#client.request({
      method: 'POST',
      path: `/api/v1/namespaces/${encodeURIComponent(namespace)}/serviceaccounts/${encodeURIComponent(account)}/token`,
      body: {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenRequest',
        spec: {
          ...(audience !== undefined && audience !== '' && { audiences: [audience] }),
          expirationSeconds,
          boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name, ...(uid !== undefined && { uid }) },
        },
      },
    });
    const { token, expirationTimestamp } = (answer as unknown as { status: { token: string; expirationTimestamp: string } }).status;
    return { token, issuedAt, expiresAt: Date.parse(expirationTimestamp) };
  }
}

/** After 80 % of its life, and after a day at the latest, as the kubelet. */
function refreshAt({ issuedAt, expiresAt }: Held): number {
  return Math.min(issuedAt + 0.8 * (expiresAt - issuedAt), issuedAt + 24 * 3600 * 1000);
}
