/**
 * Looks at the landing page of a running gateway with a real browser: `node landing.mjs DASHBOARD_URL API_KEY BROWSER`.
 * Prints what was wrong, one line each; silent and 0 when all is well.
 */

import { chromium } from "playwright-core";

const [address, key, browserPath] = process.argv.slice(2);
const QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const problems = [];

function expect(what, holds) {
  if (!holds) problems.push(what);
}

/** Whatever a page complains about, asks of somebody else, or fails to get is a problem. */
function watch(page, view) {
  page.on("console", (message) => message.type() === "error" && problems.push(`${view}: console: ${message.text()}`));
  page.on("pageerror", (error) => problems.push(`${view}: ${error}`));
  page.on("requestfailed", (request) => problems.push(`${view}: could not load ${request.url()}`));
  page.on("request", (request) => request.url().startsWith(address) || problems.push(`${view}: asked ${request.url()}`));
}

async function visit(browser, view, options) {
  const context = await browser.newContext({ ...options, permissions: ["clipboard-read", "clipboard-write"] });
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  watch(page, view);
  await page.goto(address);

  const baseUrl = await page.locator("#base-url").textContent();
  expect(`${view}: base URL is ${baseUrl}`, baseUrl === `${address}v1`);
  await page.getByText("Ready", { exact: true }).waitFor();

  await page.getByRole("tab", { name: "curl" }).focus();
  await page.keyboard.press("ArrowRight");
  await page.getByText("from openai import OpenAI").waitFor();

  await page.getByLabel("API key").fill(key);
  await page.getByRole("button", { name: "Show models" }).click();
  await page.getByRole("button", { name: "Use sim-large in the snippets" }).click();
  await page.getByText('model="sim-large"').waitFor();

  await page.locator('[data-copies="snippet"]').click();
  await page.getByText("Copied").waitFor();
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  expect(`${view}: copied ${copied}`, copied.includes(`base_url="${address}v1"`));

  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  expect(`${view}: ${overflow} px too wide`, overflow <= 0);
  const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie]));
  expect(`${view}: the key was kept: ${kept}`, !kept.includes(key));
  await context.close();
}

const browser = await chromium.launch({ executablePath: browserPath, args: QUIET });
try {
  await visit(browser, "desk, light", { colorScheme: "light", viewport: { width: 1280, height: 900 } });
  await visit(browser, "phone, dark", { colorScheme: "dark", viewport: { width: 360, height: 780 } });
} finally {
  await browser.close();
}
if (problems.length > 0) {
  console.error(problems.join("\n"));
  process.exit(1);
}
