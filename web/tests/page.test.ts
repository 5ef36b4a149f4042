import { beforeEach, expect, test } from "vitest";

import { Page } from "../src/page";
import { gateway, loadPage } from "./page";

const LOCATION = { origin: "http://127.0.0.1:8080", pathname: "/" };
const MODELS = {
  object: "list",
  data: [
    { id: "sim-small", context_length: 8192, capabilities: ["chat", "embeddings"] },
    { id: "lab/own-model", context_length: null, capabilities: [] },
  ],
};

const text = (id: string): string => document.getElementById(id)?.textContent ?? "";
const rows = (): string[] => [...document.querySelectorAll("#models tbody th")].map((cell) => cell.textContent ?? "");

beforeEach(loadPage);

test("shows the base URL and a first request for it", () => {
  new Page(document, gateway({}).fetcher, LOCATION).open();

  expect(text("base-url")).toBe("http://127.0.0.1:8080/v1");
  expect(text("snippet")).toContain("curl http://127.0.0.1:8080/v1/chat/completions");
});

test("keeps the path it is served under", () => {
  new Page(document, gateway({}).fetcher, { origin: "https://ai.example", pathname: "/lab/index.html" }).open();

  expect(text("base-url")).toBe("https://ai.example/lab/v1");
});

test("arrow keys walk the languages", () => {
  new Page(document, gateway({}).fetcher, LOCATION).open();
  const list = document.querySelector('[role="tablist"]');
  const press = (key: string): boolean => list?.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true })) ?? false;
  const selected = (): string | null | undefined => document.querySelector('[aria-selected="true"]')?.textContent;

  press("ArrowRight");
  expect(selected()).toBe("Python");
  expect(text("snippet")).toContain("from openai import OpenAI");
  press("End");
  expect(selected()).toBe("Node");
  press("ArrowRight");
  expect(selected()).toBe("curl");
  expect(document.getElementById("snippet-panel")?.getAttribute("aria-labelledby")).toBe("tab-curl");
});

test("lists the models of a pasted key and uses the chosen one in the snippets", async () => {
  const { fetcher, asked } = gateway({ "/v1/models": () => Response.json(MODELS) });
  const page = new Page(document, fetcher, LOCATION);
  page.open();

  await page.showModels("psk-of-mine");
  expect(asked).toEqual([{ url: "http://127.0.0.1:8080/v1/models", authorization: "Bearer psk-of-mine" }]);
  expect(rows()).toEqual(["sim-small", "lab/own-model"]);
  expect(document.querySelector("#models tbody td")?.textContent).toBe("8k");

  document.querySelectorAll<HTMLButtonElement>("#models tbody button")[1]?.click();
  expect(text("snippet")).toContain('"model": "lab/own-model"');
  expect(document.body.innerHTML).not.toContain("psk-of-mine");
});

test("says why a key was refused", async () => {
  const refusal = { error: { message: "This key was revoked.", type: "authentication_error", param: null, code: "invalid_api_key" } };
  const page = new Page(document, gateway({ "/v1/models": () => Response.json(refusal, { status: 401 }) }).fetcher, LOCATION);

  await page.showModels("psk-old");

  expect(text("models-status")).toBe("This key was revoked.");
  expect(document.getElementById("models")?.hidden).toBe(true);
});

test.each([
  [{ "/v1/models": () => Response.json({ data: [] }) }, "No worker serves a model yet"],
  [{}, "could not be reached"],
  [{ "/v1/models": () => new Response("<html>", { status: 502 }) }, "answered 502"],
])("explains an empty table", async (answers: Record<string, () => Response>, said) => {
  const page = new Page(document, gateway(answers).fetcher, LOCATION);

  await page.showModels("psk-any");

  expect(text("models-status")).toContain(said);
});

test("markup in a model's name stays text", async () => {
  const page = new Page(document, gateway({ "/v1/models": () => Response.json({ data: [{ id: "<img src=x>" }] }) }).fetcher, LOCATION);

  await page.showModels("psk-any");

  expect(rows()).toEqual(["<img src=x>"]);
  expect(document.querySelector("#models img")).toBeNull();
});
