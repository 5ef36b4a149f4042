/** Copy buttons: `data-copies` names the element whose text they copy. */

const SHOWN_MS = 1_600;

/** The clipboard API needs a secure page; on plain HTTP from another machine the text is selected instead. */
async function copy(source: HTMLElement): Promise<string> {
  try {
    await navigator.clipboard.writeText(source.textContent ?? "");
    return "Copied";
  } catch {
    getSelection()?.selectAllChildren(source);
    return "Selected";
  }
}

export function wireCopyButtons(document: Document): void {
  for (const button of document.querySelectorAll<HTMLButtonElement>("button[data-copies]")) {
    const name = button.textContent ?? "";
    button.setAttribute("aria-live", "polite");
    button.addEventListener("click", async () => {
      const source = document.getElementById(button.dataset["copies"] ?? "");
      if (source === null) return;
      button.textContent = await copy(source);
      setTimeout(() => (button.textContent = name), SHOWN_MS);
    });
  }
}
