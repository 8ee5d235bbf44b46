import { anyObject, atMostOne, int32, object, oneOfStrings, oneof, rule, string } from '../schema.ts';
import { age, define } from './define.ts';
import { selector, status, targetRefs, trafficSelectors, vmConfig } from './shared.ts';

export const trafficExtension = define({
  group: 'extensions.istio.io',
  plural: 'trafficextensions',
  kind: 'TrafficExtension',
  versions: ['v1alpha1'],
  storage: 'v1alpha1',
  required: ['spec'],
  columns: [age],
  spec: object(
    {
      lua: object({ inlineCode: string({ maxLength: 65536, minLength: 1 }) }, { required: ['inlineCode'] }),
      match: trafficSelectors,
      phase: oneOfStrings('UNSPECIFIED', 'AUTHN', 'AUTHZ', 'STATS'),
      priority: int32({ nullable: true }),
      selector,
      targetRefs,
      wasm: object(
        {
          failStrategy: oneOfStrings('FAIL_CLOSE', 'FAIL_OPEN', 'FAIL_RELOAD'),
          imagePullPolicy: oneOfStrings('UNSPECIFIED_POLICY', 'IfNotPresent', 'Always'),
          imagePullSecret: string({ maxLength: 253, minLength: 1 }),
          pluginConfig: anyObject(),
          pluginName: string({ maxLength: 256, minLength: 1 }),
          sha256: string({ pattern: '(^$|^[a-f0-9]{64}$)' }),
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
        { required: ['url'] },
      ),
    },
    {
      ...oneof('wasm', 'lua'),
      rules: [
        atMostOne('only one of targetRefs or selector can be set', 'selector', 'targetRefs'),
        rule('exactly one of wasm or lua must be set', 'has(self.wasm) != has(self.lua)'),
      ],
    },
  ),
  status,
});
