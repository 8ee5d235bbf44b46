import { atMostOne, boolean, list, object, rule, string } from '../schema.ts';
import { define } from './define.ts';
import { duration, selector, status, targetRef, targetRefs } from './shared.ts';

const jwks_uri = string({
  maxLength: 2048,
  minLength: 1,
  rules: [rule('url must have scheme http:// or https://', "url(self).getScheme() in ['http', 'https']")],
});

export const requestAuthentication = define({
  group: 'security.istio.io',
  plural: 'requestauthentications',
  kind: 'RequestAuthentication',
  shortNames: ['ra'],
  versions: ['v1', 'v1beta1'],
  storage: 'v1',
  columns: [],
  spec: object(
    {
      jwtRules: list(
        object(
          {
            audiences: list(string({ minLength: 1 })),
            forwardOriginalToken: boolean(),
            fromCookies: list(string({ minLength: 1 })),
            fromHeaders: list(object({ name: string({ minLength: 1 }), prefix: string() }, { required: ['name'] })),
            fromParams: list(string({ minLength: 1 })),
            issuer: string({ minLength: 1 }),
            jwks: string(),
            jwks_uri,
            jwksUri: jwks_uri,
            outputClaimToHeaders: list(
              object(
                { claim: string({ minLength: 1 }), header: string({ minLength: 1, pattern: '^[-_A-Za-z0-9]+$' }) },
                { required: ['header', 'claim'] },
              ),
            ),
            outputPayloadToHeader: string(),
            spaceDelimitedClaims: list(string({ minLength: 1 }), { maxItems: 64 }),
            timeout: duration,
          },
          { rules: [atMostOne('only one of jwks or jwksUri can be set', 'jwksUri', 'jwks_uri', 'jwks')] },
        ),
        { maxItems: 4096 },
      ),
      selector,
      targetRef,
      targetRefs,
    },
    { rules: [atMostOne('only one of targetRefs or selector can be set', 'selector', 'targetRef', 'targetRefs')] },
  ),
  status,
});
