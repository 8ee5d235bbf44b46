import { isIP } from 'node:net';

import type { Gateway } from '../api/kubernetes.ts';
import { annotations, gatewayClasses, labels, ports } from '../api/names.ts';
import type { Refusal } from './validate.ts';

/** What an istio-remote Gateway says about a peer. */
export interface PeerGateway {
  /** `<namespace>/<name>`. */
  readonly key: string;
  readonly uid: string;
  /** `https://<address>:<port>`; undefined when there is no address yet. */
  readonly url: string | undefined;
  /** By the label, or by the name `istio-remote-peer-<cluster>`. */
  readonly cluster: string | undefined;
  readonly network: string | undefined;
  readonly trustDomain: string | undefined;
  readonly region: string | undefined;
  /** Hex SHA-256 of the peer's authority; several while it is renewed. Empty: the first one seen is pinned. */
  readonly pins: readonly string[];
  /** RFC 3339: of two Gateways in conflict, the older counts. */
  readonly created: string;
}

const namePrefix = 'istio-remote-peer-';

/**
 * Reads a Gateway that links to a peer: of class istio-remote, with a listener for peering ({@link peeringListener}), or pinned. Undefined for
 * any other. The class is Istio's, which describes gateways of other networks by it too: those have a listener for HBONE alone.
 */
export function readPeerGateway(gateway: Gateway): PeerGateway | undefined {
  const { metadata, spec } = gateway;
  if (spec.gatewayClassName !== gatewayClasses.remote || metadata.deletionTimestamp !== undefined) return undefined;
  const of = metadata.labels ?? {};
  const notes = metadata.annotations ?? {};
  const listener = peeringListener(gateway);
  if (listener === undefined && nonEmpty(notes[annotations.peerCaSha256]) === undefined) return undefined;
  const address = spec.addresses?.[0]?.value;
  const port = listener?.port ?? ports.istiodTls;
  return {
    key: `${metadata.namespace ?? ''}/${metadata.name}`,
    uid: metadata.uid ?? '',
    url: address === undefined || address === '' ? undefined : `https://${isIP(address) === 6 ? `[${address}]` : address}:${port}`,
    cluster:
      nonEmpty(of[labels.cluster]) ?? (metadata.name.startsWith(namePrefix) ? nonEmpty(metadata.name.slice(namePrefix.length)) : undefined),
    network: nonEmpty(of[labels.network]),
    trustDomain: nonEmpty(notes[annotations.gatewayTrustDomain]),
    region: nonEmpty(of[labels.region]),
    pins: readPins(notes[annotations.peerCaSha256]),
    created: metadata.creationTimestamp ?? '',
  };
}

/** Where to connect: the listener `xds-tls`, else one that passes TLS on at istiod's port. */
function peeringListener({ spec }: Gateway): Gateway['spec']['listeners'][number] | undefined {
  return (
    spec.listeners.find(({ name }) => name === 'xds-tls') ??
    spec.listeners.find(({ protocol, port, tls }) => protocol === 'TLS' && port === ports.istiodTls && tls?.mode === 'Passthrough')
  );
}

export const noAddress: Refusal = {
  code: 'PEERING_GATEWAY_INVALID',
  message: "the Gateway has no address of the peer's gateway or istiod",
};

/** The annotation's value: fingerprints, with commas between. */
function readPins(text: string | undefined): readonly string[] {
  const pins = (text ?? '').split(',').map((pin) => pin.trim().toLowerCase());
  return [...new Set(pins.filter((pin) => pin !== ''))].sort();
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === '' ? undefined : text;
}
