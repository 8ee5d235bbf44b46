import { list, object, oneOfStrings, rule, string } from '../schema.ts';
import { sameTarget, sectionsSpecified, sectionsUnique } from './rules.ts';
import { age, define } from './define.ts';
import {
  annotationValues,
  controllerName,
  groupName,
  hostname,
  kindName,
  localObjectRef,
  parentRef,
  routeConditions,
  sectionName,
} from './shared.ts';

export const backendTLSPolicy = define({
  group: 'gateway.networking.k8s.io',
  plural: 'backendtlspolicies',
  kind: 'BackendTLSPolicy',
  shortNames: ['btlspolicy'],
  versions: ['v1'],
  storage: 'v1',
  required: ['spec'],
  columns: [age],
  labels: { 'gateway.networking.k8s.io/policy': 'Direct' },
  spec: object(
    {
      options: annotationValues,
      targetRefs: list(
        object(
          { group: groupName, kind: kindName, name: string({ maxLength: 253, minLength: 1 }), sectionName },
          { required: ['group', 'kind', 'name'] },
        ),
        {
          atomic: true,
          maxItems: 16,
          minItems: 1,
          rules: [
            sectionsSpecified('sectionName must be specified when targetRefs includes 2 or more references to the same target', sameTarget),
            sectionsUnique('sectionName must be unique when targetRefs includes 2 or more references to the same target', sameTarget),
          ],
        },
      ),
      validation: object(
        {
          caCertificateRefs: list(localObjectRef, { atomic: true, maxItems: 8 }),
          hostname: sectionName,
          subjectAltNames: list(
            object(
              {
                hostname,
                type: oneOfStrings('Hostname', 'URI'),
                uri: string({ maxLength: 253, minLength: 1, pattern: '^(([^:/?#]+):)(//([^/?#]*))([^?#]*)(\\?([^#]*))?(#(.*))?' }),
              },
              {
                required: ['type'],
                rules: [
                  rule(
                    'SubjectAltName element must contain Hostname, if Type is set to Hostname',
                    "self.type != 'Hostname' || (has(self.hostname) && self.hostname != '')",
                  ),
                  rule(
                    'SubjectAltName element must not contain Hostname, if Type is not set to Hostname',
                    "self.type == 'Hostname' || !has(self.hostname) || self.hostname == ''",
                  ),
                  rule(
                    'SubjectAltName element must contain URI, if Type is set to URI',
                    "self.type != 'URI' || (has(self.uri) && self.uri != '')",
                  ),
                  rule(
                    'SubjectAltName element must not contain URI, if Type is not set to URI',
                    "self.type == 'URI' || !has(self.uri) || self.uri == ''",
                  ),
                ],
              },
            ),
            { atomic: true, maxItems: 5 },
          ),
          wellKnownCACertificates: string({
            maxLength: 253,
            minLength: 1,
            pattern:
              '^(System|([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9]))$',
          }),
        },
        {
          required: ['hostname'],
          rules: [
            rule(
              'must not contain both CACertificateRefs and WellKnownCACertificates',
              "!(has(self.caCertificateRefs) && self.caCertificateRefs.size() > 0) || !has(self.wellKnownCACertificates) || self.wellKnownCACertificates == ''",
            ),
            rule(
              'must specify either CACertificateRefs or WellKnownCACertificates',
              "(has(self.caCertificateRefs) && self.caCertificateRefs.size() > 0) || (has(self.wellKnownCACertificates) && self.wellKnownCACertificates != '')",
            ),
          ],
        },
      ),
    },
    { required: ['targetRefs', 'validation'] },
  ),
  status: object(
    {
      ancestors: list(
        object(
          { ancestorRef: parentRef, conditions: routeConditions, controllerName },
          { required: ['ancestorRef', 'conditions', 'controllerName'] },
        ),
        { atomic: true, maxItems: 16 },
      ),
    },
    { required: ['ancestors'] },
  ),
});
