/** Whether the gateway takes requests now, from `/readyz`. */

export type Health = "ready" | "not-ready" | "unreachable";

export const HEALTH_LABELS: Readonly<Record<Health, string>> = {
  ready: "Ready",
  "not-ready": "Not ready",
  unreachable: "Unreachable",
};

const PATIENCE_MS = 5_000;

export async function askHealth(url: string, fetcher: typeof fetch = fetch): Promise<Health> {
  try {
    const answer = await fetcher(url, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
    return answer.ok ? "ready" : "not-ready";
  } catch {
    return "unreachable";
  }
}
