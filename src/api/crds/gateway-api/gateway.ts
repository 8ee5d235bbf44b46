import { every, int32, list, map, object, rule, string } from '../schema.ts';
import { hostnamePattern, qualifiedNamePattern } from './rules.ts';
import { age, column, define } from './define.ts';
import { gatewayConditions, labelSelector, listener, listenerStatuses, localObjectRef, objectRef, secretRef } from './shared.ts';

const addressType = string({
  default: 'IPAddress',
  maxLength: 253,
  minLength: 1,
  pattern:
    "^Hostname|IPAddress|NamedAddress|[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\\/[A-Za-z0-9\\/\\-._~%!$&'()*+,;=:]+$",
});

const frontendTLS = object({
  validation: object(
    {
      caCertificateRefs: list(objectRef, { atomic: true, maxItems: 16, minItems: 1 }),
      mode: string({ default: 'AllowValidOnly', enum: ['AllowValidOnly', 'AllowInsecureFallback'] }),
    },
    { required: ['caCertificateRefs'] },
  ),
});

export const gateway = define({
  group: 'gateway.networking.k8s.io',
  plural: 'gateways',
  kind: 'Gateway',
  shortNames: ['gtw'],
  versions: ['v1', 'v1beta1'],
  storage: 'v1',
  required: ['spec'],
  columns: [
    column('Class', '.spec.gatewayClassName'),
    column('Address', '.status.addresses[*].value'),
    column('Programmed', '.status.conditions[?(@.type=="Programmed")].status'),
    age,
  ],
  spec: object(
    {
      addresses: list(
        object(
          { type: addressType, value: string({ maxLength: 253 }) },
          {
            oneOf: [
              { properties: { type: { enum: ['IPAddress'] }, value: { anyOf: [{ format: 'ipv4' }, { format: 'ipv6' }] } } },
              { properties: { type: { not: { enum: ['IPAddress'] } } } },
            ],
            rules: [
              rule(
                `Hostname value must be empty or contain only valid characters (matching ${hostnamePattern})`,
                `self.type != 'Hostname' || !has(self.value) || self.value.matches(r'${hostnamePattern}')`,
              ),
            ],
          },
        ),
        {
          atomic: true,
          maxItems: 16,
          rules: [
            every(
              'IPAddress values must be unique',
              "item.type != 'IPAddress' || !has(item.value) || self.exists_one(other, other.type == item.type && has(other.value) && other.value == item.value)",
            ),
            every(
              'Hostname values must be unique',
              "item.type != 'Hostname' || !has(item.value) || self.exists_one(other, other.type == item.type && has(other.value) && other.value == item.value)",
            ),
          ],
        },
      ),
      allowedListeners: object({
        namespaces: object(
          { from: string({ default: 'None', enum: ['All', 'Selector', 'Same', 'None'] }), selector: labelSelector },
          { default: { from: 'None' } },
        ),
      }),
      gatewayClassName: string({ maxLength: 253, minLength: 1 }),
      infrastructure: object({
        annotations: map(string({ maxLength: 4096, minLength: 0 }), {
          maxProperties: 16,
          rules: [
            every(
              'Annotation keys must be in the form of an optional DNS subdomain prefix followed by a required name segment of up to 63 characters.',
              `item.matches(r'${qualifiedNamePattern}')`,
            ),
            every(
              "If specified, the annotation key's prefix must be a DNS subdomain not longer than 253 characters in total.",
              "item.split('/')[0].size() < 253",
            ),
          ],
        }),
        labels: map(string({ maxLength: 63, minLength: 0, pattern: '^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$' }), {
          maxProperties: 8,
          rules: [
            every(
              'Label keys must be in the form of an optional DNS subdomain prefix followed by a required name segment of up to 63 characters.',
              `item.matches(r'${qualifiedNamePattern}')`,
            ),
            every(
              "If specified, the label key's prefix must be a DNS subdomain not longer than 253 characters in total.",
              "item.split('/')[0].size() < 253",
            ),
          ],
        }),
        parametersRef: localObjectRef,
      }),
      listeners: list(listener, {
        keys: ['name'],
        maxItems: 64,
        minItems: 1,
        rules: [
          every(
            "tls must not be specified for protocols ['HTTP', 'TCP', 'UDP']",
            "!(item.protocol in ['HTTP', 'TCP', 'UDP']) || !has(item.tls)",
          ),
          every(
            'tls mode must be Terminate for protocol HTTPS',
            "item.protocol != 'HTTPS' || !has(item.tls) || item.tls.mode in ['', 'Terminate']",
          ),
          every(
            'tls mode must be set for protocol TLS',
            "item.protocol != 'TLS' || (has(item.tls) && has(item.tls.mode) && item.tls.mode != '')",
          ),
          every(
            "hostname must not be specified for protocols ['TCP', 'UDP']",
            "!(item.protocol in ['TCP', 'UDP']) || !has(item.hostname) || item.hostname == ''",
          ),
          every('Listener name must be unique within the Gateway', 'self.exists_one(other, other.name == item.name)'),
          every(
            'Combination of port, protocol and hostname must be unique for each listener',
            'self.exists_one(other, other.port == item.port && other.protocol == item.protocol && has(other.hostname) == has(item.hostname) && (!has(item.hostname) || other.hostname == item.hostname))',
          ),
        ],
      }),
      tls: object({
        backend: object({ clientCertificateRef: secretRef }),
        frontend: object(
          {
            default: frontendTLS,
            perPort: list(object({ port: int32({ maximum: 65535, minimum: 1 }), tls: frontendTLS }, { required: ['port', 'tls'] }), {
              keys: ['port'],
              maxItems: 64,
              rules: [
                every('Port for TLS configuration must be unique within the Gateway', 'self.exists_one(other, other.port == item.port)'),
              ],
            }),
          },
          { required: ['default'] },
        ),
      }),
    },
    { required: ['gatewayClassName', 'listeners'] },
  ),
  status: object(
    {
      addresses: list(
        object(
          { type: addressType, value: string({ maxLength: 253, minLength: 1 }) },
          {
            oneOf: [
              { properties: { type: { enum: ['IPAddress'] }, value: { anyOf: [{ format: 'ipv4' }, { format: 'ipv6' }] } } },
              { properties: { type: { not: { enum: ['IPAddress'] } } } },
            ],
            required: ['value'],
            rules: [
              rule(
                `Hostname value must only contain valid characters (matching ${hostnamePattern})`,
                `self.type != 'Hostname' || self.value.matches(r'${hostnamePattern}')`,
              ),
            ],
          },
        ),
        { atomic: true, maxItems: 16 },
      ),
      attachedListenerSets: int32(),
      conditions: gatewayConditions,
      listeners: listenerStatuses,
    },
    {
      default: {
        conditions: [
          {
            lastTransitionTime: '1970-01-01T00:00:00Z',
            message: 'Waiting for controller',
            reason: 'Pending',
            status: 'Unknown',
            type: 'Accepted',
          },
          {
            lastTransitionTime: '1970-01-01T00:00:00Z',
            message: 'Waiting for controller',
            reason: 'Pending',
            status: 'Unknown',
            type: 'Programmed',
          },
        ],
      },
    },
  ),
});
