/** String literals of CEL, raw and triple-quoted ones too. */
const literal = /[rR](?:"""[\s\S]*?"""|'''[\s\S]*?'''|"[^"]*"|'[^']*')|"""[\s\S]*?"""|'''[\s\S]*?'''|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'/g;

/**
 * A rule as the CEL library reads it: `matches` becomes the variant that knows RE2's syntax, and `has(list[0].field)`, which the library does not take, the question
 * whether the field is in the object. String literals stay as they are.
 */
export function toLibraryDialect(rule: string): string {
  const literals: string[] = [];
  const bare = rule.replace(literal, (text) => `\0${literals.push(text) - 1}\0`);
  return withoutIndexedHas(bare.replaceAll('.matches(', '.matchesRe2(')).replace(/\0(\d+)\0/g, (_, index) => literals[Number(index)] ?? '');
}

function withoutIndexedHas(text: string): string {
  const call = /(?<![\w.])has\(/g;
  let result = '';
  let from = 0;
  for (let match = call.exec(text); match !== null; match = call.exec(text)) {
    const start = call.lastIndex;
    const end = closing(text, start);
    const argument = text.slice(start, end);
    const dot = argument.lastIndexOf('.');
    if (!/[[(]/.test(argument) || dot < 0) continue;
    result += `${text.slice(from, match.index)}('${argument.slice(dot + 1).trim()}' in ${withoutIndexedHas(argument.slice(0, dot))})`;
    from = end + 1;
    call.lastIndex = from;
  }
  return result + text.slice(from);
}

/** Where the parenthesis that was opened before `start` is closed. */
function closing(text: string, start: number): number {
  let depth = 0;
  for (let index = start; index < text.length; index++) {
    if (text[index] === '(') depth++;
    else if (text[index] === ')' && depth-- === 0) return index;
  }
  return text.length;
}
