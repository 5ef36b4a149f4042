import { expect, test } from "vitest";

import { askHealth } from "../src/health";
import { shortLength } from "../src/models";
import { gateway } from "./page";

const URL_READY = "http://127.0.0.1:8080/readyz";

test.each([
  [{ "/readyz": () => new Response("{}") }, "ready"],
  [{ "/readyz": () => new Response("{}", { status: 503 }) }, "not-ready"],
  [{}, "unreachable"],
])("tells the three states apart", async (answers: Record<string, () => Response>, state) => {
  expect(await askHealth(URL_READY, gateway(answers).fetcher)).toBe(state);
});

test.each([
  [null, "–"],
  [512, "512"],
  [8192, "8k"],
  [131072, "128k"],
])("shortens the context length %s", (tokens, shown) => {
  expect(shortLength(tokens)).toBe(shown);
});
