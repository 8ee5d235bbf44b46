import { every, map, object, oneOfStrings, rule } from '../schema.ts';
import { age, column, define } from './define.ts';
import { selector, status } from './shared.ts';

const mtls = object({ mode: oneOfStrings('UNSET', 'DISABLE', 'PERMISSIVE', 'STRICT') });

export const peerAuthentication = define({
  group: 'security.istio.io',
  plural: 'peerauthentications',
  kind: 'PeerAuthentication',
  shortNames: ['pa'],
  versions: ['v1', 'v1beta1'],
  storage: 'v1',
  columns: [column('Mode', '.spec.mtls.mode'), age],
  spec: object(
    {
      mtls,
      portLevelMtls: map(mtls, {
        minProperties: 1,
        rules: [every('port must be between 1-65535', 'int(item) >= 1 && int(item) <= 65535')],
      }),
      selector,
    },
    {
      rules: [
        rule(
          'portLevelMtls requires selector',
          '!has(self.portLevelMtls) || (has(self.selector) && has(self.selector.matchLabels) && self.selector.matchLabels.size() > 0)',
        ),
      ],
    },
  ),
  status,
});
