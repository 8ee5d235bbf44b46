import { boolean, int32, integer, list, map, number, object, oneOfStrings, oneof, string } from '../schema.ts';
import { age, column, define } from './define.ts';
import { connectionPool, duration, selector, status } from './shared.ts';

const failover = list(object({ from: string(), to: string() }));

const loadBalancer = object(
  {
    consistentHash: object(
      {
        httpCookie: object(
          {
            attributes: list(object({ name: string(), value: string() }, { required: ['name'] })),
            name: string(),
            path: string(),
            ttl: string(),
          },
          { required: ['name'] },
        ),
        httpHeaderName: string(),
        httpQueryParameterName: string(),
        maglev: object({ tableSize: integer({ minimum: 0 }) }),
        minimumRingSize: integer({ minimum: 0 }),
        ringHash: object({ minimumRingSize: integer({ minimum: 0 }) }),
        useSourceIp: boolean(),
      },
      {
        allOf: [
          {
            oneOf: [
              {
                not: {
                  anyOf: [
                    { required: ['httpHeaderName'] },
                    { required: ['httpCookie'] },
                    { required: ['useSourceIp'] },
                    { required: ['httpQueryParameterName'] },
                  ],
                },
              },
              { required: ['httpHeaderName'] },
              { required: ['httpCookie'] },
              { required: ['useSourceIp'] },
              { required: ['httpQueryParameterName'] },
            ],
          },
          {
            oneOf: [
              { not: { anyOf: [{ required: ['ringHash'] }, { required: ['maglev'] }] } },
              { required: ['ringHash'] },
              { required: ['maglev'] },
            ],
          },
        ],
      },
    ),
    localityLbSetting: object({
      distribute: list(object({ from: string(), to: map(integer({ maximum: 4294967295, minimum: 0 })) })),
      enabled: boolean({ nullable: true }),
      failover,
      failoverPriority: list(string()),
    }),
    simple: oneOfStrings('UNSPECIFIED', 'LEAST_CONN', 'RANDOM', 'PASSTHROUGH', 'ROUND_ROBIN', 'LEAST_REQUEST'),
    warmup: object(
      {
        aggression: number({ format: 'double', minimum: 0, nullable: true }),
        duration,
        minimumPercent: number({ format: 'double', maximum: 100, minimum: 0, nullable: true }),
      },
      { required: ['duration'] },
    ),
    warmupDurationSecs: duration,
    zoneAwareLbSetting: object({
      enabled: boolean({ nullable: true }),
      failover,
      failoverPriority: list(string()),
      minClusterSize: integer({ minimum: 1, nullable: true }),
    }),
  },
  { ...oneof('simple', 'consistentHash') },
);

const outlierDetection = object({
  baseEjectionTime: duration,
  consecutive5xxErrors: integer({ maximum: 4294967295, minimum: 0, nullable: true }),
  consecutiveErrors: int32(),
  consecutiveGatewayErrors: integer({ maximum: 4294967295, minimum: 0, nullable: true }),
  consecutiveLocalOriginFailures: integer({ maximum: 4294967295, minimum: 0, nullable: true }),
  interval: duration,
  maxEjectionPercent: int32(),
  minHealthPercent: int32(),
  outlierDetectionHttpErrorCodes: list(integer({ maximum: 599, minimum: 100 })),
  splitExternalLocalOriginErrors: boolean(),
});

const tls2 = object({
  caCertificates: string(),
  caCrl: string(),
  clientCertificate: string(),
  credentialName: string(),
  insecureSkipVerify: boolean({ nullable: true }),
  mode: oneOfStrings('DISABLE', 'SIMPLE', 'MUTUAL', 'ISTIO_MUTUAL'),
  privateKey: string(),
  sni: string(),
  subjectAltNames: list(string()),
});

const trafficPolicy = object({
  connectionPool,
  loadBalancer,
  outlierDetection,
  portLevelSettings: list(
    object({
      connectionPool,
      loadBalancer,
      outlierDetection,
      port: object({ number: integer({ maximum: 4294967295, minimum: 0 }) }),
      tls: tls2,
    }),
    { maxItems: 4096 },
  ),
  proxyProtocol: object({ version: oneOfStrings('V1', 'V2') }),
  retryBudget: object({
    budgetInterval: string(),
    minRetryConcurrency: integer({ maximum: 4294967295, minimum: 0 }),
    percent: number({ format: 'double', maximum: 100, minimum: 0, nullable: true }),
  }),
  tls: tls2,
  tunnel: object(
    { protocol: string(), targetHost: string(), targetPort: integer({ maximum: 4294967295, minimum: 0 }) },
    { required: ['targetHost', 'targetPort'] },
  ),
});

export const destinationRule = define({
  group: 'networking.istio.io',
  plural: 'destinationrules',
  kind: 'DestinationRule',
  shortNames: ['dr'],
  versions: ['v1', 'v1alpha3', 'v1beta1'],
  storage: 'v1',
  columns: [column('Host', '.spec.host'), age],
  spec: object(
    {
      exportTo: list(string()),
      host: string(),
      subsets: list(object({ labels: map(string()), name: string(), trafficPolicy }, { required: ['name'] })),
      trafficPolicy,
      workloadSelector: selector,
    },
    { required: ['host'] },
  ),
  status,
});
