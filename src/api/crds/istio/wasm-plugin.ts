import { anyObject, atMostOne, int32, object, oneOfStrings, rule, string } from '../schema.ts';
import { age, define } from './define.ts';
import { selector, status, targetRef, targetRefs, trafficSelectors, vmConfig } from './shared.ts';

export const wasmPlugin = define({
  group: 'extensions.istio.io',
  plural: 'wasmplugins',
  kind: 'WasmPlugin',
  versions: ['v1alpha1'],
  storage: 'v1alpha1',
  required: ['spec'],
  columns: [age],
  spec: object(
    {
      failStrategy: oneOfStrings('FAIL_CLOSE', 'FAIL_OPEN', 'FAIL_RELOAD'),
      imagePullPolicy: oneOfStrings('UNSPECIFIED_POLICY', 'IfNotPresent', 'Always'),
      imagePullSecret: string({ maxLength: 253, minLength: 1 }),
      match: trafficSelectors,
      phase: oneOfStrings('UNSPECIFIED_PHASE', 'AUTHN', 'AUTHZ', 'STATS'),
      pluginConfig: anyObject(),
      pluginName: string({ maxLength: 256, minLength: 1 }),
      priority: int32({ nullable: true }),
      selector,
      sha256: string({ pattern: '(^$|^[a-f0-9]{64}$)' }),
      targetRef,
      targetRefs,
      type: oneOfStrings('UNSPECIFIED_PLUGIN_TYPE', 'HTTP', 'NETWORK'),
      url: string({
        minLength: 1,
        rules: [
          rule(
            'url must have schema one of [http, https, file, oci]',
            "(isURL(self) || isURL('http://' + self)) && url(isURL(self) ? self : 'http://' + self).getScheme() in ['', 'http', 'https', 'oci', 'file']",
          ),
        ],
      }),
      verificationKey: string(),
      vmConfig,
    },
    { required: ['url'], rules: [atMostOne('only one of targetRefs or selector can be set', 'selector', 'targetRef', 'targetRefs')] },
  ),
  status,
});
