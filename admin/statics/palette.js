// The command palette and the keys: everything they do, links and buttons of the page do too.
"use strict";

(() => {
  const opener = document.querySelector("[data-palette]");
  if (!opener) return;
  const root = opener.dataset.palette.replace(/\/search\.json$/, "");
  opener.setAttribute("aria-keyshortcuts", "Control+K");
  const KEYS = [
    [said("Ctrl K or /"), said("Search for anything")],
    ["?", said("Show these keys")],
    ["g d", said("Go to the dashboard")],
    ["g t", said("Go to trades")],
    ["g p", said("Go to positions")],
    ["g o", said("Go to portfolios")],
    ["g i", said("Go to instruments")],
    ["g j", said("Go to journal entries")],
    ["g a", said("Go to alerts")],
    [said("j and k"), said("Next and previous line of a table")],
    [said("Enter"), said("Open the line")],
    ["n", said("New record")],
    ["e", said("Edit the record")],
    [said("[ and ]"), said("Previous and next page")],
    ["s", said("Save the form")],
  ];
  const PLACES = { d: "/", t: "/trades/list", p: "/positions/list", o: "/portfolios/list", i: "/instruments/list", j: "/journal-entries/list", a: "/alerts/list" };

  function made(tag, properties = {}, ...children) {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  }

  function opened(label, ...children) {
    const dialog = made("dialog", { className: "palette" }, ...children);
    dialog.setAttribute("aria-label", label);
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
    return dialog;
  }

  // ── the palette ───────────────────────────────────────────────────────────────────────────

  class Palette {
    constructor() {
      this.turn = 0;
      this.active = 0;
      this.input = made("input", { type: "search", placeholder: said("Pages, instruments, portfolios, people, an id…"), autocomplete: "off", spellcheck: false, maxLength: 100 });
      this.list = made("div", { id: "palette-options", className: "palette-options" });
      this.list.setAttribute("role", "listbox");
      this.list.setAttribute("aria-label", said("Found"));
      for (const [name, value] of [["role", "combobox"], ["aria-controls", this.list.id], ["aria-expanded", "true"], ["aria-label", said("Search for anything")]]) {
        this.input.setAttribute(name, value);
      }
      this.input.addEventListener("input", () => this.#ask());
      this.input.addEventListener("keydown", (event) => this.#key(event));
      this.hint = made("p", { className: "muted palette-hint", textContent: said("↑ ↓ choose · Enter opens · Esc closes · ? shows all keys") });
      opened(said("Search for anything"), this.input, this.list, this.hint);
      this.#ask();
    }

    async #ask() {
      const turn = ++this.turn;
      const answer = await fetch(`${opener.dataset.palette}?q=${encodeURIComponent(this.input.value)}`).catch(() => null);
      if (turn !== this.turn) return;
      this.#show(answer?.ok ? await answer.json() : []);
      if (!answer?.ok) this.hint.textContent = said("The search does not answer just now.");
    }

    #show(found) {
      this.list.replaceChildren(
        ...found.slice(0, 60).map(({ kind, text, link }, at) => {
          const name = made("span", { className: "palette-name", textContent: text });
          const item = made("a", { id: `palette-${at}`, href: link, tabIndex: -1 }, name, made("span", { className: "muted", textContent: kind }));
          item.setAttribute("role", "option");
          return item;
        }),
      );
      if (!found.length) this.list.append(made("p", { className: "muted", textContent: said("Nothing was found.") }));
      this.#mark(0);
    }

    #mark(at) {
      const options = this.list.querySelectorAll("[role=option]");
      this.active = options.length ? (at + options.length) % options.length : 0;
      options.forEach((item, index) => item.setAttribute("aria-selected", String(index === this.active)));
      options[this.active]?.scrollIntoView({ block: "nearest" });
      this.input.setAttribute("aria-activedescendant", options[this.active]?.id ?? "");
    }

    #key(event) {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (step) {
        event.preventDefault();
        this.#mark(this.active + step);
      } else if (event.key === "Enter") {
        event.preventDefault();
        this.list.querySelectorAll("[role=option]")[this.active]?.click();
      }
    }
  }

  function showKeys() {
    const rows = KEYS.map(([keys, does]) => made("div", {}, made("dt", {}, made("kbd", { textContent: keys })), made("dd", { textContent: does })));
    const close = made("button", { type: "button", className: "button", textContent: said("Close") });
    const dialog = opened(said("Keys"), made("h2", { textContent: said("Keys") }), made("dl", { className: "keys" }, ...rows), close);
    close.addEventListener("click", () => dialog.close());
  }

  // ── keys ──────────────────────────────────────────────────────────────────────────────────

  let waiting = 0;
  let line = -1;

  function follow(selector) {
    const found = document.querySelector(selector);
    found?.click();
    return Boolean(found);
  }

  function move(step) {
    const rows = document.querySelectorAll("main table tbody tr");
    if (!rows.length) return false;
    rows[line]?.classList.remove("at");
    line = Math.min(rows.length - 1, Math.max(0, line + step));
    rows[line].classList.add("at");
    rows[line].scrollIntoView({ block: "nearest" });
    rows[line].querySelector("a")?.focus({ preventScroll: true });
    return true;
  }

  const COMMANDS = {
    "/": () => new Palette(),
    "?": showKeys,
    j: () => move(1),
    k: () => move(-1),
    n: () => follow("[data-key=new]"),
    e: () => follow("[data-key=edit]"),
    s: () => follow("form.form button.primary"),
    "[": () => follow(".pages [rel=prev]"),
    "]": () => follow(".pages [rel=next]"),
  };

  function isTyping(target) {
    return target.closest("input, textarea, select, [contenteditable]") !== null;
  }

  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
      event.preventDefault();
      if (!document.querySelector("dialog.palette")) new Palette();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target) || document.querySelector("dialog[open]")) return;
    if (waiting) {
      clearTimeout(waiting);
      waiting = 0;
      if (PLACES[event.key]) location.assign(root + PLACES[event.key]);
      return;
    }
    if (event.key === "g") {
      waiting = setTimeout(() => (waiting = 0), 1_200);
    } else if (COMMANDS[event.key]) {
      event.preventDefault();
      COMMANDS[event.key]();
    }
  });

  opener.addEventListener("click", (event) => {
    event.preventDefault();
    new Palette();
  });
})();
