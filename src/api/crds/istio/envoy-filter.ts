import { anyObject, atMostOne, int32, integer, list, map, object, oneOfStrings, oneof, rule, string } from '../schema.ts';
import { define } from './define.ts';
import { portNumber, status, targetRefs, workloadSelector } from './shared.ts';

const filter = object({ name: string(), subFilter: object({ name: string() }) });

export const envoyFilter = define({
  group: 'networking.istio.io',
  plural: 'envoyfilters',
  kind: 'EnvoyFilter',
  versions: ['v1alpha3'],
  storage: 'v1alpha3',
  columns: [],
  spec: object(
    {
      configPatches: list(
        object({
          applyTo: oneOfStrings(
            'INVALID',
            'LISTENER',
            'FILTER_CHAIN',
            'NETWORK_FILTER',
            'HTTP_FILTER',
            'ROUTE_CONFIGURATION',
            'VIRTUAL_HOST',
            'HTTP_ROUTE',
            'CLUSTER',
            'EXTENSION_CONFIG',
            'BOOTSTRAP',
            'LISTENER_FILTER',
          ),
          match: object(
            {
              cluster: object({
                name: string(),
                portNumber: integer({ maximum: 4294967295, minimum: 0 }),
                service: string(),
                subset: string(),
              }),
              context: oneOfStrings('ANY', 'SIDECAR_INBOUND', 'SIDECAR_OUTBOUND', 'GATEWAY', 'WAYPOINT'),
              listener: object({
                filterChain: object({
                  applicationProtocols: string(),
                  destinationPort: integer({ maximum: 4294967295, minimum: 0 }),
                  filter,
                  name: string(),
                  sni: string(),
                  transportProtocol: string(),
                }),
                listenerFilter: string(),
                name: string(),
                portName: string(),
                portNumber: integer({ maximum: 4294967295, minimum: 0 }),
              }),
              proxy: object({ metadata: map(string()), proxyVersion: string() }),
              routeConfiguration: object({
                gateway: string(),
                name: string(),
                portName: string(),
                portNumber: integer({ maximum: 4294967295, minimum: 0 }),
                vhost: object({
                  domainName: string(),
                  name: string(),
                  route: object({ action: oneOfStrings('ANY', 'ROUTE', 'REDIRECT', 'DIRECT_RESPONSE'), name: string() }),
                }),
              }),
              waypoint: object({ filter, portNumber, route: object({ name: string() }) }),
            },
            {
              ...oneof('listener', 'routeConfiguration', 'cluster', 'waypoint'),
              rules: [
                rule(
                  'only support waypointMatch when context is WAYPOINT',
                  "has(self.waypoint) == (has(self.context) && self.context == 'WAYPOINT')",
                ),
              ],
            },
          ),
          patch: object({
            filterClass: oneOfStrings('UNSPECIFIED', 'AUTHN', 'AUTHZ', 'STATS'),
            operation: oneOfStrings(
              'INVALID',
              'MERGE',
              'ADD',
              'REMOVE',
              'INSERT_BEFORE',
              'INSERT_AFTER',
              'INSERT_FIRST',
              'REPLACE',
              'MERGE_AND_REPLACE_LIST',
            ),
            value: anyObject(),
          }),
        }),
      ),
      priority: int32(),
      targetRefs,
      workloadSelector,
    },
    { rules: [atMostOne('only one of targetRefs or workloadSelector can be set', 'workloadSelector', 'targetRefs')] },
  ),
  status,
});
