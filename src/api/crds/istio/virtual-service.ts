import { boolean, int32, integer, list, map, number, object, oneOfStrings, oneof, string } from '../schema.ts';
import { age, column, define } from './define.ts';
import { duration, egressDestination, status } from './shared.ts';

const allowOrigin = object({ exact: string(), prefix: string(), regex: string() }, { ...oneof('exact', 'prefix', 'regex') });

const request = object({ add: map(string()), remove: list(string()), set: map(string()) });

const headers = object({ request, response: request });

const headers2 = map(allowOrigin);

const route = list(object({ destination: egressDestination, weight: int32() }, { required: ['destination'] }));

export const virtualService = define({
  group: 'networking.istio.io',
  plural: 'virtualservices',
  kind: 'VirtualService',
  shortNames: ['vs'],
  versions: ['v1', 'v1alpha3', 'v1beta1'],
  storage: 'v1',
  columns: [column('Gateways', '.spec.gateways'), column('Hosts', '.spec.hosts'), age],
  spec: object({
    exportTo: list(string()),
    gateways: list(string()),
    hosts: list(string()),
    http: list(
      object({
        corsPolicy: object({
          allowCredentials: boolean({ nullable: true }),
          allowHeaders: list(string()),
          allowMethods: list(string()),
          allowOrigin: list(string()),
          allowOrigins: list(allowOrigin),
          exposeHeaders: list(string()),
          maxAge: duration,
          unmatchedPreflights: oneOfStrings('UNSPECIFIED', 'FORWARD', 'IGNORE'),
        }),
        delegate: object({ name: string(), namespace: string() }),
        directResponse: object(
          {
            body: object({ bytes: string({ format: 'byte' }), string: string() }, { ...oneof('string', 'bytes') }),
            status: integer({ maximum: 4294967295, minimum: 0 }),
          },
          { required: ['status'] },
        ),
        fault: object({
          abort: object(
            {
              grpcStatus: string(),
              http2Error: string(),
              httpStatus: int32(),
              percentage: object({ value: number({ format: 'double' }) }),
            },
            { ...oneof('httpStatus', 'grpcStatus', 'http2Error') },
          ),
          delay: object(
            {
              exponentialDelay: duration,
              fixedDelay: duration,
              percent: int32(),
              percentage: object({ value: number({ format: 'double' }) }),
            },
            { ...oneof('fixedDelay', 'exponentialDelay') },
          ),
        }),
        headers,
        match: list(
          object({
            authority: allowOrigin,
            gateways: list(string()),
            headers: headers2,
            ignoreUriCase: boolean(),
            method: allowOrigin,
            name: string(),
            port: integer({ maximum: 4294967295, minimum: 0 }),
            queryParams: headers2,
            scheme: allowOrigin,
            sourceLabels: map(string()),
            sourceNamespace: string(),
            statPrefix: string(),
            uri: allowOrigin,
            withoutHeaders: headers2,
          }),
        ),
        mirror: egressDestination,
        mirror_percent: integer({ maximum: 4294967295, minimum: 0, nullable: true }),
        mirrorPercent: integer({ maximum: 4294967295, minimum: 0, nullable: true }),
        mirrorPercentage: object({ value: number({ format: 'double' }) }),
        mirrors: list(
          object(
            { destination: egressDestination, percentage: object({ value: number({ format: 'double' }) }) },
            { required: ['destination'] },
          ),
        ),
        name: string(),
        redirect: object(
          {
            authority: string(),
            derivePort: oneOfStrings('FROM_PROTOCOL_DEFAULT', 'FROM_REQUEST_PORT'),
            port: integer({ maximum: 4294967295, minimum: 0 }),
            prefixRewrite: string(),
            redirectCode: integer({ maximum: 4294967295, minimum: 0 }),
            scheme: string(),
            uri: string(),
          },
          { ...oneof('port', 'derivePort') },
        ),
        retries: object({
          attempts: int32(),
          backoff: duration,
          perTryTimeout: duration,
          retryIgnorePreviousHosts: boolean({ nullable: true }),
          retryOn: string(),
          retryRemoteLocalities: boolean({ nullable: true }),
        }),
        rewrite: object({ authority: string(), uri: string(), uriRegexRewrite: object({ match: string(), rewrite: string() }) }),
        route: list(object({ destination: egressDestination, headers, weight: int32() }, { required: ['destination'] })),
        timeout: duration,
      }),
    ),
    tcp: list(
      object({
        match: list(
          object({
            destinationSubnets: list(string()),
            gateways: list(string()),
            port: integer({ maximum: 4294967295, minimum: 0 }),
            sourceLabels: map(string()),
            sourceNamespace: string(),
            sourceSubnet: string(),
          }),
        ),
        route,
      }),
    ),
    tls: list(
      object(
        {
          match: list(
            object(
              {
                destinationSubnets: list(string()),
                gateways: list(string()),
                port: integer({ maximum: 4294967295, minimum: 0 }),
                sniHosts: list(string()),
                sourceLabels: map(string()),
                sourceNamespace: string(),
              },
              { required: ['sniHosts'] },
            ),
          ),
          route,
        },
        { required: ['match'] },
      ),
    ),
  }),
  status,
});
