import { collectionPath, type KubeClient } from '../kube/index.ts';
import type { ResourceType } from '../api/resources.ts';

interface Table {
  readonly columnDefinitions: readonly { readonly name: string; readonly priority?: number }[];
  readonly rows: readonly { readonly cells: readonly unknown[] }[];
}

/** A list as `kubectl get` prints it: the server's own table, its default columns, padded with three spaces. */
export async function getTable(client: KubeClient, type: ResourceType, namespace: string): Promise<string> {
  const answer: unknown = await client.request({
    method: 'GET',
    path: `${collectionPath(type, namespace)}?limit=500`,
    accept: 'application/json;as=Table;v=v1;g=meta.k8s.io',
  });
  const table = answer as Table;
  const shown = table.columnDefinitions.flatMap(({ priority }, index) => ((priority ?? 0) === 0 ? [index] : []));
  const header = shown.map((index) => table.columnDefinitions[index]?.name.toUpperCase() ?? '');
  const rows = table.rows.map(({ cells }) => shown.map((index) => cellText(cells[index])));
  if (rows.length === 0) return `No resources found in ${namespace} namespace.\n`;
  return alignColumns([header, ...rows]);
}

function cellText(cell: unknown): string {
  if (cell === undefined || cell === null) return '';
  return typeof cell === 'string' ? cell : JSON.stringify(cell);
}

/** Rows of cells as lines, each column as wide as its widest cell, three spaces between. */
export function alignColumns(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  const lines = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('   ')
      .trimEnd(),
  );
  return `${lines.join('\n')}\n`;
}
