const compiled = new Map<string, RegExp>();

/**
 * A pattern of Go's RE2 syntax as a JavaScript expression; throws a SyntaxError when it is none. What the two write differently is rewritten: flags in the
 * middle (`^(?i)abc`) hold until the end of their group, `\A` and `\z` are the ends of the text, `(?P<name>` is a named group.
 */
export function regularExpression(pattern: string): RegExp {
  let expression = compiled.get(pattern);
  if (expression === undefined) {
    expression = new RegExp(withScopedFlags(pattern.replaceAll('\\A', '^').replaceAll('\\z', '$').replaceAll('(?P<', '(?<')));
    compiled.set(pattern, expression);
  }
  return expression;
}

function withScopedFlags(pattern: string): string {
  const at = /(?<!\\)\(\?([ims]+)\)/.exec(pattern);
  if (at === null) return pattern;
  const start = at.index + at[0].length;
  const end = groupEnd(pattern, start);
  return withScopedFlags(`${pattern.slice(0, at.index)}(?${at[1] ?? ''}:${pattern.slice(start, end)})${pattern.slice(end)}`);
}

/** Where the group that `start` stands in ends. */
function groupEnd(pattern: string, start: number): number {
  let depth = 0;
  let inClass = false;
  for (let index = start; index < pattern.length; index++) {
    const character = pattern[index];
    if (character === '\\') index++;
    else if (inClass) inClass = character !== ']';
    else if (character === '[') inClass = true;
    else if (character === '(') depth++;
    else if (character === ')' && depth-- === 0) return index;
  }
  return pattern.length;
}
