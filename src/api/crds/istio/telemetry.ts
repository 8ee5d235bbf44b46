import { atMostOne, boolean, list, map, number, object, oneOfStrings, oneof, rule, string } from '../schema.ts';
import { age, define } from './define.ts';
import { duration, selector, status, targetRef, targetRefs } from './shared.ts';

const match = object({ mode: oneOfStrings('CLIENT_AND_SERVER', 'CLIENT', 'SERVER') });

const providers = list(object({ name: string({ minLength: 1 }) }, { required: ['name'] }));

const environment = object({ defaultValue: string(), name: string({ minLength: 1 }) }, { required: ['name'] });

export const telemetry = define({
  group: 'telemetry.istio.io',
  plural: 'telemetries',
  kind: 'Telemetry',
  shortNames: ['telemetry'],
  versions: ['v1', 'v1alpha1'],
  storage: 'v1alpha1',
  columns: [age],
  spec: object(
    {
      accessLogging: list(object({ disabled: boolean({ nullable: true }), filter: object({ expression: string() }), match, providers })),
      metrics: list(
        object({
          overrides: list(
            object({
              disabled: boolean({ nullable: true }),
              match: object(
                {
                  customMetric: string({ minLength: 1 }),
                  metric: oneOfStrings(
                    'ALL_METRICS',
                    'REQUEST_COUNT',
                    'REQUEST_DURATION',
                    'REQUEST_SIZE',
                    'RESPONSE_SIZE',
                    'TCP_OPENED_CONNECTIONS',
                    'TCP_CLOSED_CONNECTIONS',
                    'TCP_SENT_BYTES',
                    'TCP_RECEIVED_BYTES',
                    'GRPC_REQUEST_MESSAGES',
                    'GRPC_RESPONSE_MESSAGES',
                  ),
                  mode: oneOfStrings('CLIENT_AND_SERVER', 'CLIENT', 'SERVER'),
                },
                { ...oneof('metric', 'customMetric') },
              ),
              tagOverrides: map(
                object(
                  { operation: oneOfStrings('UPSERT', 'REMOVE'), value: string() },
                  {
                    rules: [
                      rule(
                        'value must be set when operation is UPSERT',
                        "!has(self.operation) || self.operation != 'UPSERT' || (has(self.value) && self.value != '')",
                      ),
                      rule(
                        'value must not be set when operation is REMOVE',
                        "!has(self.operation) || self.operation != 'REMOVE' || !has(self.value)",
                      ),
                    ],
                  },
                ),
              ),
            }),
          ),
          providers,
          reportingInterval: duration,
        }),
      ),
      selector,
      targetRef,
      targetRefs,
      tracing: list(
        object({
          customTags: map(
            object(
              {
                environment,
                formatter: object({ value: string({ minLength: 1 }) }, { required: ['value'] }),
                header: environment,
                literal: object({ value: string({ minLength: 1 }) }, { required: ['value'] }),
              },
              { ...oneof('literal', 'environment', 'header', 'formatter') },
            ),
          ),
          disableContextPropagation: boolean({ nullable: true }),
          disableSpanReporting: boolean({ nullable: true }),
          enableIstioTags: boolean({ nullable: true }),
          match,
          providers,
          randomSamplingPercentage: number({ format: 'double', maximum: 100, minimum: 0, nullable: true }),
          useRequestIdForTraceSampling: boolean({ nullable: true }),
        }),
      ),
    },
    { rules: [atMostOne('only one of targetRefs or selector can be set', 'selector', 'targetRef', 'targetRefs')] },
  ),
  status,
});
