import { structOf, type Field, type FieldType, type StructType } from './field-table.ts';
import type { MergeStrategy, PathStep } from './types.ts';

const replace = { strategy: 'replace', retainKeys: false } as const;
const merge = { strategy: 'merge', retainKeys: false } as const;

const scalarStrategy: MergeStrategy = { type: 'scalar', apply: 'atomic', keys: [], patch: replace };
/** What stands in no schema merges by field, as free-form JSON does. */
export const untypedStrategy: MergeStrategy = { type: 'untyped', apply: 'granular', keys: [], patch: merge };

/** How values merge below a struct of the built-in kinds. */
export function structMergeStrategy(root: StructType, path: readonly PathStep[]): MergeStrategy {
  let type: FieldType = { kind: 'struct', table: root.table, name: root.name, pointer: false };
  let field: Field | undefined;
  for (const step of path) {
    if (type.kind === 'struct') {
      field = structOf(type).byName.get(String(step));
      if (field === undefined) return path.length === 1 && (step === 'apiVersion' || step === 'kind') ? scalarStrategy : untypedStrategy;
      type = field.type;
    } else if (type.kind === 'list' || type.kind === 'map') {
      field = undefined;
      type = type.of;
    } else {
      return untypedStrategy;
    }
  }
  return strategyOf(type, field);
}

function strategyOf(type: FieldType, field: Field | undefined): MergeStrategy {
  const patch = field?.patch;
  switch (type.kind) {
    case 'scalar':
      return scalarStrategy;
    case 'raw':
      // A JSON schema or fieldsV1 has one owner, an extension is merged by field.
      return type.name === 'RawExtension' ? untypedStrategy : { ...untypedStrategy, apply: 'atomic' };
    case 'struct': {
      const atomic = structOf(type).atomic || field?.list?.type === 'atomic';
      return { type: 'object', apply: atomic ? 'atomic' : 'granular', keys: [], patch: patch ?? merge };
    }
    case 'map':
      return { type: 'map', apply: field?.list?.type === 'atomic' ? 'atomic' : 'granular', keys: [], patch: merge };
    case 'list': {
      const kind = field?.list?.type ?? 'atomic';
      const keys = (field?.list?.keys ?? []).map((name) => {
        const key = type.of.kind === 'struct' ? structOf(type.of).byName.get(name)?.default : undefined;
        return key === undefined ? { name } : { name, default: key };
      });
      return { type: 'list', apply: kind === 'map' ? 'associative' : kind, keys, patch: patch ?? replace };
    }
  }
}
