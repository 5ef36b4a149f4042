/** What the gateway's Content-Security-Policy (`default-src 'self'`) needs of the page. */

import { expect, test } from "vitest";

import html from "../index.html?raw";

test("nothing is inlined and nothing comes from elsewhere", () => {
  const page = new DOMParser().parseFromString(html, "text/html");

  expect([...page.querySelectorAll("script:not([src]), style, [style]")]).toEqual([]);
  const addresses = [...page.querySelectorAll("[src], [href]")].map((element) => element.getAttribute("src") ?? element.getAttribute("href") ?? "");
  expect(addresses.filter((address) => /^(?:[a-z]+:|\/\/)/i.test(address))).toEqual([]);
  expect(html).not.toMatch(/\son[a-z]+=/);
});
