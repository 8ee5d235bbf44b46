import {
  atMostOne,
  boolean,
  dateTime,
  every,
  int32,
  intOrString,
  integer,
  list,
  map,
  object,
  oneOfStrings,
  rule,
  string,
} from '../schema.ts';

/** What several kinds have in common. */
export const duration = string({ rules: [rule('must be a valid duration greater than 1ms', "duration(self) >= duration('1ms')")] });

export const portNumber = integer({
  maximum: 4294967295,
  minimum: 0,
  rules: [rule('port must be between 1-65535', 'self >= 1 && self <= 65535')],
});

export const egressDestination = object(
  { host: string(), port: object({ number: integer({ maximum: 4294967295, minimum: 0 }) }), subset: string() },
  { required: ['host'] },
);

export const workloadSelector = object({
  labels: map(string({ maxLength: 63, rules: [rule('wildcard is not supported in selector', "!self.contains('*')")] }), {
    maxProperties: 256,
  }),
});

export const endpointAddress = string({
  maxLength: 256,
  rules: [
    rule(
      'UDS must be an absolute path or abstract socket',
      "!self.startsWith('unix://') || self.startsWith('unix:///') || self.startsWith('unix://@')",
    ),
    rule('UDS may not be a dir', "!self.startsWith('unix://') || !self.endsWith('/')"),
  ],
});

export const trafficSelectors = list(
  object({
    mode: oneOfStrings('UNDEFINED', 'CLIENT', 'SERVER', 'CLIENT_AND_SERVER'),
    ports: list(object({ number: integer({ maximum: 65535, minimum: 1 }) }, { required: ['number'] }), { keys: ['number'] }),
  }),
);

export const endpointPorts = map(portNumber, {
  maxProperties: 128,
  rules: [every('port name must be valid', "item.size() < 63 && item.matches('^[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?$')")],
});

export const selector = object({
  matchLabels: map(string({ maxLength: 63, rules: [rule('wildcard not allowed in label value match', "!self.contains('*')")] }), {
    maxProperties: 4096,
    rules: [every('wildcard not allowed in label key match', "!item.contains('*')"), every('key must not be empty', "item != ''")],
  }),
});

export const targetRef = object(
  {
    group: string({ maxLength: 253, pattern: '^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$' }),
    kind: string({ maxLength: 63, minLength: 1, pattern: '^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$' }),
    name: string({ maxLength: 253, minLength: 1 }),
    namespace: string({ rules: [rule('cross namespace referencing is not currently supported', "self == ''")] }),
  },
  { required: ['kind', 'name'] },
);

export const vmConfig = object({
  env: list(
    object(
      { name: string({ maxLength: 256, minLength: 1 }), value: string({ maxLength: 2048 }), valueFrom: oneOfStrings('INLINE', 'HOST') },
      {
        required: ['name'],
        rules: [
          rule('value may only be set when valueFrom is INLINE', "!has(self.value) || !has(self.valueFrom) || self.valueFrom != 'HOST'"),
        ],
      },
    ),
    { keys: ['name'], maxItems: 256 },
  ),
});

export const targetRefs = list(targetRef, { maxItems: 16 });

export const status = object(
  {
    conditions: list(
      object({
        lastProbeTime: dateTime(),
        lastTransitionTime: dateTime(),
        message: string(),
        observedGeneration: intOrString(),
        reason: string(),
        status: string(),
        type: string(),
      }),
    ),
    observedGeneration: intOrString(),
    validationMessages: list(
      object({
        documentationUrl: string(),
        level: oneOfStrings('UNKNOWN', 'ERROR', 'WARNING', 'INFO'),
        type: object({ code: string(), name: string() }),
      }),
    ),
  },
  { 'x-kubernetes-preserve-unknown-fields': true },
);

export const endpoint = object(
  {
    address: endpointAddress,
    labels: map(string(), { maxProperties: 256 }),
    locality: string({ maxLength: 2048 }),
    network: string({ maxLength: 2048 }),
    ports: endpointPorts,
    serviceAccount: string({ maxLength: 253 }),
    weight: integer({ maximum: 4294967295, minimum: 0 }),
  },
  {
    rules: [
      rule('Address is required', 'has(self.address) || has(self.network)'),
      rule('UDS may not include ports', "!has(self.ports) || !has(self.address) || !self.address.startsWith('unix://')"),
    ],
  },
);

export const tls = object(
  {
    caCertCredentialName: string(),
    caCertificates: string(),
    caCrl: string(),
    cipherSuites: list(string()),
    credentialName: string(),
    credentialNames: list(string(), { maxItems: 2, minItems: 1 }),
    httpsRedirect: boolean(),
    insecureSkipVerify: boolean({ nullable: true }),
    maxProtocolVersion: oneOfStrings('TLS_AUTO', 'TLSV1_0', 'TLSV1_1', 'TLSV1_2', 'TLSV1_3'),
    minProtocolVersion: oneOfStrings('TLS_AUTO', 'TLSV1_0', 'TLSV1_1', 'TLSV1_2', 'TLSV1_3'),
    mode: oneOfStrings('PASSTHROUGH', 'SIMPLE', 'MUTUAL', 'AUTO_PASSTHROUGH', 'ISTIO_MUTUAL', 'OPTIONAL_MUTUAL'),
    privateKey: string(),
    serverCertificate: string(),
    subjectAltNames: list(string()),
    tlsCertificates: list(object({ caCertificates: string(), privateKey: string(), serverCertificate: string() }), {
      maxItems: 2,
      minItems: 1,
    }),
    verifyCertificateHash: list(string()),
    verifyCertificateSpki: list(string()),
  },
  {
    rules: [
      atMostOne('only one of credentialNames or tlsCertificates can be set', 'tlsCertificates', 'credentialNames'),
      atMostOne('only one of credentialName or credentialNames can be set', 'credentialName', 'credentialNames'),
    ],
  },
);

export const connectionPool = object({
  http: object({
    h2UpgradePolicy: oneOfStrings('DEFAULT', 'DO_NOT_UPGRADE', 'UPGRADE'),
    http1MaxPendingRequests: int32(),
    http2KeepAlive: object({ interval: duration, timeout: duration }),
    http2MaxRequests: int32(),
    idleTimeout: duration,
    maxConcurrentStreams: int32(),
    maxRequestsPerConnection: int32(),
    maxRetries: int32(),
    useClientProtocol: boolean(),
  }),
  tcp: object({
    connectTimeout: duration,
    idleTimeout: string(),
    maxConnectionDuration: duration,
    maxConnections: int32(),
    tcpKeepalive: object({ interval: duration, probes: integer({ maximum: 4294967295, minimum: 0 }), time: duration }),
  }),
});
