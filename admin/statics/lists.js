// Conditions with groups, columns in order, exact counts. Without it every form still works.
"use strict";

// ── conditions ──────────────────────────────────────────────────────────────────────────────

const VALUELESS = new Set(["empty", "filled"]);
const INPUT_TYPES = { day: "date", instant: "date" };

// A line of the form: its comparison and its value follow its column.
class Rule {
  constructor(line) {
    this.line = line;
    this.column = line.querySelector("[data-rule-column]");
    this.operator = line.querySelector("[data-rule-operator]");
    this.value = line.querySelector("[data-rule-value]");
    this.words = [...this.operator.options].map((option) => option.cloneNode(true));
    this.column.addEventListener("change", () => this.#changed());
    this.operator.addEventListener("change", () => this.#show());
    line.querySelector("[data-rule-remove]").addEventListener("click", () => line.remove());
    this.#show();
  }

  #changed() {
    this.value.value = "";
    this.value.dataset.label = "";
    this.#show();
  }

  #show() {
    const chosen = this.column.selectedOptions[0]?.dataset ?? {};
    this.#offer(chosen.operators);
    this.line.querySelectorAll("[data-editor]").forEach((editor) => editor.remove());
    const isBare = VALUELESS.has(this.operator.value) || !this.column.value;
    this.value.type = "hidden";
    if (!isBare) this.#edit(chosen);
  }

  #offer(operators) {
    if (!operators) return;
    const known = operators.split(" ");
    const current = this.operator.value;
    const offered = this.words.filter((option) => known.includes(option.value));
    this.operator.replaceChildren(...offered.map((option) => option.cloneNode(true)));
    this.operator.value = known.includes(current) ? current : known[0];
  }

  #edit(chosen) {
    const word = this.operator.value;
    if (chosen.choices) return this.#choose(chosen.choices.split("|"), word === "any");
    if (chosen.lookup && word !== "any") return this.#lookUp(chosen.lookup);
    if (word === "between") return this.#between(INPUT_TYPES[chosen.kind] ?? "text");
    const isExact = this.value.value.includes(":");
    this.value.type = isExact || word === "any" ? "text" : (INPUT_TYPES[chosen.kind] ?? "text");
    this.value.inputMode = chosen.kind === "number" ? "decimal" : "text";
  }

  // Several inputs write one text: the values, with a bar between them.
  #write(values) {
    const quoted = (value) => (/[|]|^"/.test(value) ? `"${value.replace(/[\\"]/g, "\\$&")}"` : value);
    this.value.value = values.filter((value) => value !== "").map(quoted).join(" | ");
  }

  #values() {
    const cut = this.value.value.matchAll(/\s*"((?:[^"\\]|\\.)*)"\s*(?=\||$)|([^|]+)/gs);
    return [...cut].map(([, quoted, bare]) => (quoted === undefined ? bare.trim() : quoted.replace(/\\(.)/gs, "$1")));
  }

  #choose(choices, isMany) {
    const select = document.createElement("select");
    select.dataset.editor = "";
    select.setAttribute("aria-label", said("Value"));
    select.multiple = isMany;
    if (isMany) select.size = Math.min(choices.length, 6);
    const given = this.#values();
    for (const choice of choices) {
      const [value, label] = choice.split("=");
      select.append(new Option(label, value, false, given.includes(value)));
    }
    const write = () => this.#write([...select.selectedOptions].map((option) => option.value));
    select.addEventListener("change", write);
    this.value.after(select);
    if (!isMany) write();
  }

  #lookUp(address) {
    const field = document.createElement("input");
    field.type = "text";
    field.value = this.value.value;
    field.id = `${this.value.name}-lookup`;
    Object.assign(field.dataset, { lookup: address, label: this.value.dataset.label ?? "" });
    const holder = document.createElement("span");
    holder.dataset.editor = "";
    holder.append(field);
    this.value.after(holder);
    new Reference(field);
    const write = () => this.#write([field.value]);
    holder.addEventListener("input", write);
    field.form.addEventListener("submit", write);
  }

  #between(type) {
    const given = this.#values();
    const ends = [0, 1].map((at) => {
      const input = document.createElement("input");
      input.type = type;
      input.value = given[at] ?? "";
      input.dataset.editor = "";
      input.setAttribute("aria-label", at ? said("Until") : said("From"));
      input.addEventListener("input", () => this.#write(ends.map((end) => end.value)));
      return input;
    });
    this.value.after(...ends);
  }
}

// A frame of conditions; what is added gets the next free place.
class Rules {
  constructor(frame) {
    this.frame = frame;
    this.list = frame.querySelector(":scope > ul");
    this.spare = [...this.list.querySelectorAll(":scope > [data-rule]")].at(-1).cloneNode(true);
    this.following = Number(frame.dataset.following);
    const buttons = frame.querySelector(":scope > .rule-buttons");
    buttons.querySelector("[data-rule-add]").addEventListener("click", () => this.#addRule());
    buttons.querySelector("[data-rules-add]").addEventListener("click", () => this.#addGroup());
    buttons
      .querySelector("[data-rules-remove]")
      ?.addEventListener("click", () => frame.closest("li").remove());
  }

  #place() {
    const { rules } = this.frame.dataset;
    return rules ? `${rules}.${this.following++}` : String(this.following++);
  }

  #line(place) {
    const line = this.spare.cloneNode(true);
    for (const input of line.querySelectorAll("[name]")) {
      input.name = `${input.name[0]}-${place}`;
    }
    return line;
  }

  #addRule() {
    const line = this.#line(this.#place());
    this.list.append(line);
    new Rule(line);
    line.querySelector("select").focus();
  }

  #addGroup() {
    const place = this.#place();
    const frame = this.frame.cloneNode(true);
    frame.dataset.rules = place;
    frame.dataset.following = "1";
    frame.querySelector("legend select").name = `g-${place}`;
    frame.querySelector("legend select").value = "or";
    const line = this.#line(`${place}.0`);
    frame.querySelector(":scope > ul").replaceChildren(line);
    const buttons = frame.querySelector(":scope > .rule-buttons");
    if (!buttons.querySelector("[data-rules-remove]")) {
      const remove = document.createElement("button");
      Object.assign(remove, { type: "button", className: "button quiet", textContent: said("Remove group") });
      remove.dataset.rulesRemove = "";
      buttons.append(remove);
    }
    const item = document.createElement("li");
    item.append(frame);
    this.list.append(item);
    new Rules(frame);
    new Rule(line);
  }
}

// ── columns ─────────────────────────────────────────────────────────────────────────────────

function moveColumn(button, isUp) {
  const item = button.closest("li");
  if (isUp) item.previousElementSibling?.before(item);
  else item.nextElementSibling?.after(item);
  button.focus();
}

// ── one field in its line ───────────────────────────────────────────────────────────────────

// The cell shows the field's form until it is saved or given up; its link leads to the whole form.
class CellEditor {
  static open = null;

  constructor(link) {
    this.cell = link.closest("td");
    this.link = link;
    this.before = [...this.cell.childNodes];
  }

  async start() {
    CellEditor.open?.close();
    const answer = await fetch(this.cell.dataset.cell).catch(() => null);
    if (!answer?.ok) {
      location.assign(this.link.href);
      return;
    }
    CellEditor.open = this;
    this.#show(await answer.text());
  }

  close() {
    this.cell.classList.remove("editing");
    this.cell.replaceChildren(...this.before);
    CellEditor.open = null;
    this.link.focus();
  }

  #show(html) {
    const page = new DOMParser().parseFromString(html, "text/html");
    const form = document.adoptNode(page.querySelector("form"));
    this.cell.classList.add("editing");
    this.cell.replaceChildren(form);
    form.addEventListener("submit", (event) => this.#save(event));
    form.addEventListener("keydown", (event) => event.key === "Escape" && this.close());
    form.querySelector("[data-cell-cancel]").addEventListener("click", () => this.close());
    for (const field of form.querySelectorAll("input[data-lookup]")) new Reference(field);
    form.querySelector("input:not([type=hidden]), select, textarea")?.focus();
  }

  async #save(event) {
    event.preventDefault();
    const body = new URLSearchParams(new FormData(event.target));
    const answer = await fetch(this.cell.dataset.cell, { method: "POST", body }).catch(() => null);
    const html = answer ? await answer.text() : "";
    if (answer && [409, 422].includes(answer.status)) {
      this.#show(html);
      return;
    }
    if (!answer?.ok) {
      location.assign(this.link.href);
      return;
    }
    const page = new DOMParser().parseFromString(html, "text/html");
    this.before = [...page.body.childNodes].map((node) => document.adoptNode(node));
    this.before.push(this.link);
    this.close();
  }
}

// ── counts ──────────────────────────────────────────────────────────────────────────────────

async function countExactly(event) {
  event.preventDefault();
  const link = event.currentTarget;
  link.textContent = said("Counting…");
  const answer = await fetch(link.dataset.count).catch(() => null);
  if (!answer) {
    location.assign(link.href);
    return;
  }
  const text = (await answer.text()).trim();
  if (answer.ok) link.parentElement.textContent = text;
  else link.textContent = text;
}

document.addEventListener("DOMContentLoaded", () => {
  for (const frame of document.querySelectorAll("[data-rules]")) new Rules(frame);
  for (const line of document.querySelectorAll("[data-rule]")) new Rule(line);
  for (const button of document.querySelectorAll("[data-up], [data-down]")) {
    button.addEventListener("click", () => moveColumn(button, "up" in button.dataset));
  }
  for (const link of document.querySelectorAll("a.edit-cell")) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      new CellEditor(link).start();
    });
  }
  document.querySelector("[data-count]")?.addEventListener("click", countExactly);
  for (const [mark, isOn] of [["[data-check-all]", true], ["[data-check-none]", false]]) {
    document.querySelector(mark)?.addEventListener("click", (event) => {
      const boxes = event.target.form.querySelectorAll('input[type="checkbox"]');
      for (const box of boxes) box.checked = isOn;
    });
  }
  document.querySelector("[data-pick-all]")?.addEventListener("change", (event) => {
    const { pickAll } = event.target.dataset;
    const boxes = document.querySelectorAll(`input[name="key"][form="${pickAll}"]`);
    for (const box of boxes) box.checked = event.target.checked;
  });
  // One panel at a time; Escape and a click elsewhere close it.
  const panels = [...document.querySelectorAll("details.panel")];
  const close = (except) => panels.forEach((panel) => panel !== except && (panel.open = false));
  document.addEventListener("click", (event) => {
    // What an option or a removed line was part of is no longer in the page.
    if (event.target.isConnected) close(event.target.closest("details.panel"));
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close(null);
  });
});
