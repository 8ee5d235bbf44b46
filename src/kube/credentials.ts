/** What proves to an API server who one is: a token, a certificate with its key, or both. */
export interface Credentials {
  /** Bearer token. */
  readonly token?: string;
  /** PEM client certificate and key. */
  readonly cert?: string;
  readonly key?: string;
}

/** Credentials that change over time, and have to be fetched. */
export interface CredentialSource {
  /** Good ones for a request that is sent now; the same object as long as they are the same. */
  current(signal?: AbortSignal): Promise<Credentials>;
  /** Says that the server answered 401 to `refused`, and resolves with what to try instead, or with undefined when there is nothing new. */
  replace(refused: Credentials, signal?: AbortSignal): Promise<Credentials | undefined>;
}
