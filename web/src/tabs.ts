/** A row of tabs that the keyboard can walk (arrows, Home, End), after the WAI-ARIA pattern. */

export interface Tab {
  readonly id: string;
  readonly label: string;
}

export function buildTabs(list: HTMLElement, panel: HTMLElement, tabs: readonly Tab[], chosen: (id: string) => void): void {
  const buttons = tabs.map((tab) => {
    const button = list.ownerDocument.createElement("button");
    button.type = "button";
    button.id = `tab-${tab.id}`;
    button.textContent = tab.label;
    button.setAttribute("role", "tab");
    button.setAttribute("aria-controls", panel.id);
    button.addEventListener("click", () => select(buttons.indexOf(button)));
    return button;
  });

  function select(index: number, focus = false): void {
    buttons.forEach((button, at) => {
      button.setAttribute("aria-selected", String(at === index));
      button.tabIndex = at === index ? 0 : -1;
    });
    const button = buttons[index];
    const tab = tabs[index];
    if (button === undefined || tab === undefined) return;
    panel.setAttribute("aria-labelledby", button.id);
    if (focus) button.focus();
    chosen(tab.id);
  }

  list.addEventListener("keydown", (event) => {
    const at = buttons.findIndex((button) => button.getAttribute("aria-selected") === "true");
    const last = buttons.length - 1;
    const to = { ArrowRight: at === last ? 0 : at + 1, ArrowLeft: at === 0 ? last : at - 1, Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    select(to, true);
  });
  list.replaceChildren(...buttons);
  select(0);
}
