/** Asks the gateway which models a key can use. */

export interface Model {
  readonly id: string;
  readonly contextLength: number | null;
  readonly capabilities: readonly string[];
}

/** The gateway said no; the message is written for the reader. */
export class Refused extends Error {}

interface ListAnswer {
  data?: { id: string; context_length?: number | null; capabilities?: string[] }[];
  error?: { message?: string };
}

export async function listModels(baseUrl: string, key: string, fetcher: typeof fetch = fetch): Promise<Model[]> {
  const answer = await fetcher(`${baseUrl}/models`, { headers: { Authorization: `Bearer ${key}` }, cache: "no-store" });
  const body = (await answer.json().catch(() => ({}))) as ListAnswer;
  if (!answer.ok) throw new Refused(body.error?.message ?? `The gateway answered ${answer.status}.`);
  return (body.data ?? []).map((model) => ({
    id: model.id,
    contextLength: model.context_length ?? null,
    capabilities: model.capabilities ?? [],
  }));
}

/** `32768` as `32k`, as people speak of context lengths. */
export function shortLength(tokens: number | null): string {
  if (tokens === null) return "–";
  return tokens < 1024 ? String(tokens) : `${Math.round(tokens / 1024)}k`;
}
