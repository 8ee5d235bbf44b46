import { decode, encode } from 'dns-packet';

import { resources } from '../../api/resources.ts';
import { createLogger, describeError } from '../../core/index.ts';
import { Informer, type KubeClient } from '../../kube/index.ts';
import { runCommand } from '../../linux/index.ts';
import { DnsDirectory } from './dns-directory.ts';
import { forward, type Upstream } from './dns-forward.ts';
import { encodeReply, errorMessage, parseQuery } from './dns-message.ts';
import { serveDns, type Transport } from './dns-server.ts';
import { answerFromZone, noSuchName, rcodes, type Reply } from './dns-zone.ts';

export interface ClusterDnsOptions {
  readonly client: KubeClient;
  /** The ClusterIP of kube-dns; it is put on lo, labelled `lo:dns`. */
  readonly address: string;
  readonly port: number;
  /** Such as `cluster.local`. */
  readonly clusterDomain: string;
  /** Who is asked for all other names; without one they do not exist. */
  readonly upstream?: Upstream;
  readonly signal: AbortSignal;
  /** Called once the names are known and the sockets are open. */
  readonly onListening?: (port: number) => void;
}

/** CoreDNS' work for one cluster, in the network namespace of this process. Rejects when the address cannot be had. */
export async function runClusterDns(options: ClusterDnsOptions): Promise<void> {
  const { client, address, port, clusterDomain, upstream, signal, onListening } = options;
  const log = createLogger('cluster-dns');
  const namespaces = new Informer({ client, type: resources.namespaces, log });
  const services = new Informer({ client, type: resources.services, log });
  const slices = new Informer({ client, type: resources.endpointSlices, log });
  let directory: DnsDirectory | undefined;
  const informers = [namespaces, services, slices] as const;
  for (const informer of informers) {
    informer.onChange(() => {
      directory = undefined;
    });
  }
  const watching = Promise.all(informers.map((informer) => informer.run(signal)));
  await Promise.race([Promise.all(informers.map((informer) => informer.synced)), watching]);
  if (signal.aborted) return;

  const respond = async (message: Buffer, transport: Transport): Promise<Buffer | undefined> => {
    const parsed = parseQuery(message);
    if (parsed === undefined) return undefined;
    if ('error' in parsed) return parsed.error;
    const [question] = parsed.query.questions ?? [];
    if (question === undefined) return errorMessage(message, rcodes.formatError);
    directory ??= new DnsDirectory({ namespaces: namespaces.list(), services: services.list(), slices: slices.list() });
    const reply = answerFromZone(question, directory, { domain: clusterDomain, address });
    try {
      if (reply?.unresolved !== undefined && upstream !== undefined) {
        return encodeReply(parsed.query, await follow(message, reply, reply.unresolved, transport, upstream, signal), transport);
      }
      if (reply !== undefined) return encodeReply(parsed.query, reply, transport);
      if (upstream !== undefined) return await forward(message, transport, upstream, signal);
    } catch (error) {
      log.debug({ error: describeError(error) }, 'upstream did not answer');
      return errorMessage(message, rcodes.serverFailure);
    }
    // Not REFUSED, though that is what it is: musl's resolver takes no notice of it and waits until it times out.
    return encodeReply(parsed.query, noSuchName(''), transport);
  };

  await runCommand('ip', ['address', 'replace', `${address}/32`, 'dev', 'lo', 'label', 'lo:dns'], { signal });
  await serveDns({ address, port, respond, log, signal, ...(onListening && { onListening }) });
  await watching;
}

/** Completes a CNAME that leads out of the cluster with what upstream says about its target. */
async function follow(
  message: Buffer,
  reply: Reply,
  target: string,
  transport: Transport,
  upstream: Upstream,
  signal: AbortSignal,
): Promise<Reply> {
  const query = decode(message);
  const question = { ...query.questions?.[0], name: target, type: query.questions?.[0]?.type ?? 'A' };
  const asked = encode({ type: 'query', id: query.id ?? 0, flags: query.flags ?? 0, questions: [question] });
  const answer = decode(await forward(asked, transport, upstream, signal));
  return { ...reply, answers: [...reply.answers, ...(answer.answers ?? [])] };
}
