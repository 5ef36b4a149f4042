/** The real page in a test document, and a gateway that answers from a table of paths. */

import html from "../index.html?raw";

export function loadPage(): void {
  const body = new DOMParser().parseFromString(html, "text/html").body;
  document.body.replaceChildren(...body.childNodes);
}

export interface Asked {
  url: string;
  authorization: string | null;
}

export function gateway(answers: Record<string, () => Response>): { fetcher: typeof fetch; asked: Asked[] } {
  const asked: Asked[] = [];
  const fetcher: typeof fetch = async (input, init) => {
    const url = String(input);
    asked.push({ url, authorization: new Headers(init?.headers).get("authorization") });
    const answer = answers[new URL(url).pathname];
    if (answer === undefined) throw new TypeError("connection refused");
    return answer();
  };
  return { fetcher, asked };
}
