import { existsSync, readFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import path from 'node:path';

import typescript from 'typescript';

/** What the image has of this repository. */
export interface Program {
  /** Content by path below the repository's root: JavaScript for TypeScript. */
  readonly files: ReadonlyMap<string, string>;
  /** The npm packages that it imports. */
  readonly packages: ReadonlySet<string>;
}

/** The commands that run on a developer's machine, from a checkout; `isthmus` says so where they are not. */
const leftOut = ['src/lab/', 'src/cli/demo.ts', 'src/cli/demo/', 'src/cli/lab.ts'];

/** Files that are found by name, not by import. */
const besideImports = ['src/cni/plugin/plugin.ts'];

/**
 * Follows the imports from the executable's first module and turns each file into JavaScript. Types become blanks and `.ts`
 * in a specifier `.js`, so that lines and columns stay those of the source, and need no source map.
 */
export function buildProgram(root: string): Program {
  const files = new Map<string, string>([['package.json', packageJson(root)]]);
  const packages = new Set<string>();
  const open = ['src/cli/main.ts', ...besideImports];
  for (let file = open.pop(); file !== undefined; file = open.pop()) {
    if (files.has(toJavaScript(file))) continue;
    const { text, imports } = translate(file, readFileSync(path.join(root, file), 'utf8'));
    files.set(toJavaScript(file), text);
    for (const { specifier, dynamic } of imports) {
      if (specifier.startsWith('node:')) continue;
      if (!specifier.startsWith('.')) {
        packages.add(packageName(specifier));
        continue;
      }
      const target = path.posix.join(path.posix.dirname(file), specifier);
      if (leftOut.some((prefix) => target.startsWith(prefix))) {
        if (!dynamic) throw new Error(`${file} imports ${target}, which is not in the image`);
        continue;
      }
      if (!existsSync(path.join(root, target))) throw new Error(`${file} imports ${target}, which is not there`);
      open.push(target);
    }
  }
  return { files, packages };
}

/** All that is looked up in it at run time; scripts and dependencies say nothing there. */
function packageJson(root: string): string {
  const { name, version, license, type } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as Record<string, unknown>;
  return `${JSON.stringify({ name, version, license, type, private: true }, null, 2)}\n`;
}

interface Import {
  readonly specifier: string;
  readonly dynamic: boolean;
}

function translate(file: string, source: string): { readonly text: string; readonly imports: readonly Import[] } {
  if (file.endsWith('.json')) return { text: source, imports: [] };
  let text = file.endsWith('.ts') ? stripTypeScriptTypes(source) : source;
  const imports: Import[] = [];
  for (const { fileName: specifier, pos } of typescript.preProcessFile(text, true, true).importedFiles) {
    // The position is that of the opening quote.
    const begin = pos + 1;
    if (text.slice(begin, begin + specifier.length) !== specifier) throw new Error(`${file}: import of ${specifier} not found again`);
    imports.push({ specifier, dynamic: /\bimport\s*\(\s*$/.test(text.slice(Math.max(0, pos - 200), pos)) });
    if (specifier.startsWith('.')) text = text.slice(0, begin) + toJavaScript(specifier) + text.slice(begin + specifier.length);
  }
  return { text, imports };
}

const toJavaScript = (name: string): string => name.replace(/\.ts$/, '.js');

function packageName(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}
