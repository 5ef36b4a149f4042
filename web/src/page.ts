/** Fills the page in and keeps it current. */

import { wireCopyButtons } from "./copy";
import { HEALTH_LABELS, askHealth } from "./health";
import { type Model, Refused, listModels, shortLength } from "./models";
import { SNIPPETS, baseUrl, highlighted } from "./snippets";
import { buildTabs } from "./tabs";

const HEALTH_EVERY_MS = 10_000;

/** What the snippets name until a key has shown which models there are: the smaller of the two simulated ones. */
const EXAMPLE_MODEL = "sim-small";

export class Page {
  private readonly baseUrl: string;
  private model = EXAMPLE_MODEL;
  private language = SNIPPETS[0]?.id ?? "";

  constructor(
    private readonly document: Document,
    private readonly fetcher: typeof fetch,
    location: { origin: string; pathname: string },
  ) {
    this.baseUrl = baseUrl(location);
  }

  open(): void {
    this.element("base-url").textContent = this.baseUrl;
    const tabs = this.document.querySelector<HTMLElement>(".tabs");
    if (tabs === null) throw new Error("the page has no tabs");
    buildTabs(tabs, this.element("snippet-panel"), SNIPPETS, (id) => {
      this.language = id;
      this.drawSnippet();
    });
    wireCopyButtons(this.document);
    this.element("key-form").addEventListener("submit", (event) => {
      event.preventDefault();
      void this.showModels((this.element("key") as HTMLInputElement).value.trim());
    });
  }

  /** Ask for health now, and again for as long as somebody looks. */
  async watchHealth(): Promise<void> {
    if (this.document.visibilityState !== "hidden") {
      const health = await askHealth(this.baseUrl.replace(/v1$/, "readyz"), this.fetcher);
      const shown = this.element("health");
      const label = shown.querySelector(".label");
      if (label !== null && shown.dataset["state"] !== health) label.textContent = HEALTH_LABELS[health];
      shown.dataset["state"] = health;
    }
    setTimeout(() => void this.watchHealth(), HEALTH_EVERY_MS);
  }

  async showModels(key: string): Promise<void> {
    const table = this.element("models");
    this.say("Asking…");
    try {
      const models = await listModels(this.baseUrl, key, this.fetcher);
      table.querySelector("tbody")?.replaceChildren(...models.map((model) => this.row(model)));
      table.hidden = models.length === 0;
      this.say(models.length === 0 ? "No worker serves a model yet. Start one: penstock worker --join …" : "");
      if (models[0] !== undefined) this.useModel(models[0].id);
    } catch (error) {
      table.hidden = true;
      this.say(error instanceof Refused ? error.message : "The gateway could not be reached.", true);
    }
  }

  private row(model: Model): HTMLTableRowElement {
    const row = this.document.createElement("tr");
    const name = this.document.createElement("th");
    name.scope = "row";
    name.append(this.tag("code", model.id));
    const capabilities = this.document.createElement("td");
    capabilities.append(...model.capabilities.map((capability) => this.tag("span", capability, "chip")));
    const use = this.document.createElement("td");
    const button = this.tag("button", "Use") as HTMLButtonElement;
    button.type = "button";
    button.setAttribute("aria-label", `Use ${model.id} in the snippets`);
    button.addEventListener("click", () => this.useModel(model.id));
    use.append(button);
    row.append(name, this.tag("td", shortLength(model.contextLength)), capabilities, use);
    row.dataset["model"] = model.id;
    return row;
  }

  private useModel(id: string): void {
    this.model = id;
    for (const row of this.document.querySelectorAll<HTMLElement>("#models tbody tr")) {
      row.toggleAttribute("data-used", row.dataset["model"] === id);
    }
    this.drawSnippet();
  }

  private drawSnippet(): void {
    const snippet = SNIPPETS.find((one) => one.id === this.language);
    if (snippet !== undefined) this.element("snippet").replaceChildren(highlighted(snippet.text(this.baseUrl, this.model), this.document));
  }

  private say(text: string, isError = false): void {
    const status = this.element("models-status");
    status.textContent = text;
    status.classList.toggle("error", isError);
  }

  private tag(name: string, text: string, className = ""): HTMLElement {
    const element = this.document.createElement(name);
    element.textContent = text;
    if (className !== "") element.className = className;
    return element;
  }

  private element(id: string): HTMLElement {
    const found = this.document.getElementById(id);
    if (found === null) throw new Error(`the page has no #${id}`);
    return found;
  }
}
