/** The first request in each language, for one base URL and model. */

export interface Snippet {
  readonly id: string;
  readonly label: string;
  readonly text: (baseUrl: string, model: string) => string;
}

export const SNIPPETS: readonly Snippet[] = [
  {
    id: "curl",
    label: "curl",
    text: (baseUrl, model) => `curl ${baseUrl}/chat/completions \\
  -H "Authorization: Bearer $PENSTOCK_API_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{
    "model": "${model}",
    "messages": [{"role": "user", "content": "Why is the sea salt?"}],
    "stream": true
  }'`,
  },
  {
    id: "python",
    label: "Python",
    text: (baseUrl, model) => `# pip install openai
import os
from openai import OpenAI

client = OpenAI(base_url="${baseUrl}", api_key=os.environ["PENSTOCK_API_KEY"])

stream = client.chat.completions.create(
    model="${model}",
    messages=[{"role": "user", "content": "Why is the sea salt?"}],
    stream=True,
)
for chunk in stream:
    print(chunk.choices[0].delta.content or "", end="", flush=True)`,
  },
  {
    id: "node",
    label: "Node",
    text: (baseUrl, model) => `// npm install openai
import OpenAI from "openai";

const client = new OpenAI({ baseURL: "${baseUrl}", apiKey: process.env.PENSTOCK_API_KEY });

const stream = await client.chat.completions.create({
  model: "${model}",
  messages: [{ role: "user", content: "Why is the sea salt?" }],
  stream: true,
});
for await (const chunk of stream) {
  process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
}`,
  },
];

/** The API's address as this page's visitor reaches it: the page's own address without its file name, and `/v1`. */
export function baseUrl(location: { origin: string; pathname: string }): string {
  return location.origin + location.pathname.replace(/[^/]*$/, "") + "v1";
}

/** Wraps comments and strings in spans, so that the style sheet can colour them. */
export function highlighted(code: string, document: Document): DocumentFragment {
  const fragment = document.createDocumentFragment();
  const marks = /(?<comment>^(?:#|\/\/).*$)|(?<string>"[^"\n]*"|'[^']*')/gm;
  let end = 0;
  for (const match of code.matchAll(marks)) {
    fragment.append(code.slice(end, match.index));
    const span = document.createElement("span");
    span.className = match.groups?.["comment"] === undefined ? "string" : "comment";
    span.textContent = match[0];
    fragment.append(span);
    end = match.index + match[0].length;
  }
  fragment.append(code.slice(end));
  return fragment;
}
