import manifest from '../../package.json' with { type: 'json' };

/** The version of this build, from package.json. */
export const version: string = manifest.version;

/** The mesh's own image, used by `isthmus install` unless another is given. */
export const defaultImage = `docker.io/isthmus/isthmus:${version}`;
