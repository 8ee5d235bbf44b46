import type { AnyObject } from '../../../../api/kubernetes.ts';
import { compareVersions } from '../discovery.ts';
import { objectAt, objectsAt, stringAt, stringsAt } from '../json.ts';
import { customVerbs, scaleSubresource, statusOf, storageVersionHash } from '../resources.ts';
import type { ResourceInfo } from '../types.ts';

/** One resource for each served version, the preferred version first. */
export function crdToResourceInfo(crd: AnyObject): ResourceInfo[] {
  const spec = objectAt(crd, 'spec');
  const names = objectAt(spec, 'names');
  const versions = objectsAt(spec, 'versions');
  const group = stringAt(spec, 'group') ?? '';
  const kind = stringAt(names, 'kind') ?? '';
  const stored =
    stringAt(
      versions.find((version) => version['storage'] === true),
      'name',
    ) ?? '';
  return versions
    .filter((version) => version['served'] === true)
    .map((version) => {
      const subresources = objectAt(version, 'subresources');
      return {
        group,
        version: stringAt(version, 'name') ?? '',
        kind,
        listKind: stringAt(names, 'listKind') ?? `${kind}List`,
        plural: stringAt(names, 'plural') ?? '',
        singular: stringAt(names, 'singular') ?? kind.toLowerCase(),
        namespaced: spec?.['scope'] !== 'Cluster',
        shortNames: stringsAt(names, 'shortNames'),
        categories: stringsAt(names, 'categories'),
        verbs: customVerbs,
        subresources: [
          ...(subresources?.['status'] === undefined ? [] : [statusOf(kind)]),
          ...(subresources?.['scale'] === undefined ? [] : [scaleSubresource]),
        ],
        storageVersionHash: storageVersionHash(group, stored, kind),
        crd: crd.metadata.name,
      };
    })
    .sort((a, b) => compareVersions(a.version, b.version));
}
