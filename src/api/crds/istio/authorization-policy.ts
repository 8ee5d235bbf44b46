import { atMostOne, list, object, oneOfStrings, oneof, rule, string } from '../schema.ts';
import { age, column, define } from './define.ts';
import { selector, status, targetRef, targetRefs } from './shared.ts';

export const authorizationPolicy = define({
  group: 'security.istio.io',
  plural: 'authorizationpolicies',
  kind: 'AuthorizationPolicy',
  shortNames: ['ap'],
  versions: ['v1', 'v1beta1'],
  storage: 'v1',
  columns: [column('Action', '.spec.action'), age],
  spec: object(
    {
      action: oneOfStrings('ALLOW', 'DENY', 'AUDIT', 'CUSTOM'),
      provider: object({ name: string() }),
      rules: list(
        object({
          from: list(
            object({
              source: object(
                {
                  ipBlocks: list(string()),
                  namespaces: list(string()),
                  notIpBlocks: list(string()),
                  notNamespaces: list(string()),
                  notPrincipals: list(string()),
                  notRemoteIpBlocks: list(string()),
                  notRequestPrincipals: list(string()),
                  notServiceAccounts: list(string({ maxLength: 320 }), { maxItems: 16 }),
                  notTrustDomains: list(string()),
                  principals: list(string()),
                  remoteIpBlocks: list(string()),
                  requestPrincipals: list(string()),
                  serviceAccounts: list(string({ maxLength: 320 }), { maxItems: 16 }),
                  trustDomains: list(string()),
                },
                {
                  rules: [
                    rule(
                      'Cannot set serviceAccounts with namespaces or principals',
                      '!(has(self.serviceAccounts) || has(self.notServiceAccounts)) || !(has(self.principals) || has(self.notPrincipals) || has(self.namespaces) || has(self.notNamespaces))',
                    ),
                  ],
                },
              ),
            }),
            { maxItems: 512 },
          ),
          to: list(
            object({
              operation: object({
                hosts: list(string()),
                methods: list(string()),
                notHosts: list(string()),
                notMethods: list(string()),
                notPaths: list(string()),
                notPorts: list(string()),
                paths: list(string()),
                ports: list(string()),
              }),
            }),
          ),
          when: list(object({ key: string(), notValues: list(string()), values: list(string()) }, { required: ['key'] })),
        }),
        { maxItems: 512 },
      ),
      selector,
      targetRef,
      targetRefs,
    },
    { ...oneof('provider'), rules: [atMostOne('only one of targetRefs or selector can be set', 'selector', 'targetRef', 'targetRefs')] },
  ),
  status,
});
