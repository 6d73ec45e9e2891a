// Everything here only makes pages more comfortable: without it every form still works.
"use strict";

// What scripts say: English stands here, other languages come as a table before this script.
function said(text, values = {}) {
  const words = globalThis.tradekeepWords ?? {};
  return (words[text] ?? text).replace(/%\((\w+)\)s/g, (gap, name) => String(values[name] ?? gap));
}

const THEME = "tradekeep-theme";

function storedTheme() {
  try {
    return localStorage.getItem(THEME);
  } catch {
    return null; // storage may be switched off
  }
}

function showTheme(theme) {
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
}

// At once, before the page is painted: no flash of the other theme.
showTheme(storedTheme());
document.documentElement.dataset.scripted = "";

function toggleTheme() {
  const shown = document.documentElement.dataset.theme;
  const isDark = shown ? shown === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const next = isDark ? "light" : "dark";
  showTheme(next);
  document.dispatchEvent(new Event("themechange"));
  try {
    localStorage.setItem(THEME, next);
  } catch {
    // the choice lasts for this page
  }
}

function forgetTheme() {
  try {
    localStorage.removeItem(THEME);
  } catch {
    // nothing was kept
  }
}

function toggleMenu(button) {
  const isOpen = document.body.classList.toggle("menu-open");
  button.setAttribute("aria-expanded", String(isOpen));
}

// ── menu ────────────────────────────────────────────────────────────────────────────────────

const AREAS = "tradekeep-areas";

function storedAreas() {
  try {
    return new Set(JSON.parse(localStorage.getItem(AREAS) ?? "[]"));
  } catch {
    return new Set(); // storage may be switched off
  }
}

// Areas that were opened by hand stay open on the next page.
function keepAreas(groups) {
  const open = storedAreas();
  for (const group of groups) {
    if (open.has(group.dataset.area)) group.open = true;
    group.querySelector("summary").addEventListener("click", () => {
      const areas = storedAreas();
      areas[group.open ? "delete" : "add"](group.dataset.area);
      try {
        localStorage.setItem(AREAS, JSON.stringify([...areas]));
      } catch {
        // the choice lasts for this page
      }
    });
  }
}

// ── reference fields ────────────────────────────────────────────────────────────────────────

// The field keeps the record's key; people type its name into a second field in front of it.
class Reference {
  constructor(field) {
    this.field = field;
    this.wait = 0;
    this.asked = 0;
    this.active = -1;
    this.options = [];
    this.answered = "";
    this.search = document.createElement("input");
    this.list = document.createElement("ul");
    this.#build();
  }

  #build() {
    const { field, search, list } = this;
    list.id = `${field.id}-options`;
    list.className = "options";
    list.setAttribute("role", "listbox");
    list.hidden = true;
    Object.assign(search, {
      type: "text",
      id: field.id,
      autocomplete: "off",
      spellcheck: false,
      placeholder: said("Type to search…"),
      value: field.dataset.label || field.value,
    });
    for (const name of ["aria-describedby", "aria-invalid"]) {
      if (field.hasAttribute(name)) search.setAttribute(name, field.getAttribute(name));
    }
    search.setAttribute("role", "combobox");
    search.setAttribute("aria-controls", list.id);
    search.setAttribute("aria-expanded", "false");
    field.removeAttribute("id");
    field.type = "hidden";
    const holder = document.createElement("div");
    holder.className = "reference";
    field.replaceWith(holder);
    holder.append(field, search, list);
    search.addEventListener("input", () => this.#typed());
    search.addEventListener("focus", () => this.#ask());
    search.addEventListener("keydown", (event) => this.#key(event));
    search.addEventListener("blur", () => setTimeout(() => this.#close(), 150));
  }

  #typed() {
    // What was chosen does not stand for another name; an unknown one is refused by the server.
    this.field.value = this.search.value.trim();
    clearTimeout(this.wait);
    this.wait = setTimeout(() => this.#ask(), 180);
  }

  async #ask() {
    const turn = ++this.asked;
    const typed = this.search.value;
    const query = this.search.value === this.field.dataset.label ? "" : this.search.value;
    const address = `${this.field.dataset.lookup}?q=${encodeURIComponent(query)}`;
    const answer = await fetch(address, { headers: { accept: "application/json" } }).catch(() => null);
    if (!answer?.ok || turn !== this.asked || document.activeElement !== this.search) return;
    this.options = await answer.json();
    this.answered = typed;
    this.active = -1;
    this.list.replaceChildren(...this.options.map((option, index) => this.#item(option, index)));
    this.list.hidden = this.options.length === 0;
    this.search.setAttribute("aria-expanded", String(!this.list.hidden));
  }

  #item(option, index) {
    const item = document.createElement("li");
    item.id = `${this.list.id}-${index}`;
    item.setAttribute("role", "option");
    item.textContent = option.text;
    item.addEventListener("mousedown", (event) => {
      event.preventDefault();
      this.#choose(index);
    });
    return item;
  }

  #key(event) {
    if (event.key === "Escape") this.#close();
    if (event.key === "Enter" && this.#isOpen()) this.#enter(event);
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && !this.list.hidden) {
      event.preventDefault();
      this.#mark((this.active + step + this.options.length) % this.options.length);
    }
  }

  #enter(event) {
    event.preventDefault();
    const index = this.active >= 0 ? this.active : this.#meant();
    if (index >= 0) this.#choose(index);
  }

  // Something was typed or marked that is not chosen yet.
  #isOpen() {
    const typed = this.search.value;
    return this.active >= 0 || (typed.trim() !== "" && typed !== this.field.dataset.label);
  }

  // The one record that the text stands for; options that answer an older text mean nothing.
  #meant() {
    if (this.answered !== this.search.value) return -1;
    const typed = this.search.value.trim().toLowerCase();
    const exact = this.options.filter((option) => option.text.toLowerCase() === typed);
    const meant = exact.length > 0 ? exact : this.options;
    return meant.length === 1 ? this.options.indexOf(meant[0]) : -1;
  }

  #mark(index) {
    this.active = index;
    [...this.list.children].forEach((item, at) => {
      item.setAttribute("aria-selected", String(at === index));
      if (at === index) item.scrollIntoView({ block: "nearest" });
    });
    this.search.setAttribute("aria-activedescendant", `${this.list.id}-${index}`);
  }

  #choose(index) {
    const { id, text } = this.options[index];
    this.field.value = id;
    this.field.dataset.label = text;
    this.search.value = text;
    this.#close();
    if ("submit" in this.field.dataset) this.field.form.requestSubmit();
  }

  #close() {
    this.list.hidden = true;
    this.active = -1;
    this.search.setAttribute("aria-expanded", "false");
  }
}

// ── forms ───────────────────────────────────────────────────────────────────────────────────

// What was typed and not saved is not lost by a click on a link.
function guard(form) {
  const before = new URLSearchParams(new FormData(form)).toString();
  let isSent = false;
  form.addEventListener("submit", () => (isSent = true));
  addEventListener("beforeunload", (event) => {
    if (!isSent && new URLSearchParams(new FormData(form)).toString() !== before) event.preventDefault();
  });
}

// A form that is under way is not sent a second time by an impatient finger.
function sendOnce(form) {
  let isSent = false;
  form.addEventListener("submit", (event) => {
    if (event.defaultPrevented) return;
    if (isSent) {
      event.preventDefault();
      return;
    }
    isSent = true;
    const button = event.submitter;
    // Later, because a button that is switched off at once sends no name.
    setTimeout(() => button?.setAttribute("aria-busy", "true"));
    const free = () => {
      isSent = false;
      button?.removeAttribute("aria-busy");
    };
    // What comes back as a file leaves the page where it is; and one may come back to it.
    setTimeout(free, 4_000);
    addEventListener("pageshow", free, { once: true });
  });
}

// Without a connection nothing is saved, and what is shown grows old.
function watchConnection() {
  const line = document.createElement("p");
  line.className = "offline";
  line.setAttribute("role", "status");
  line.hidden = true;
  document.querySelector(".top")?.after(line);
  const show = () => {
    line.hidden = navigator.onLine;
    line.textContent = navigator.onLine ? "" : said("There is no connection: what stands here may be old, and nothing can be saved.");
  };
  addEventListener("online", show);
  addEventListener("offline", show);
  show();
}

// Says at once where JSON breaks; the text itself is left alone, digit for digit.
function checkJson(area) {
  const state = document.createElement("p");
  state.className = "json-state";
  state.setAttribute("role", "status");
  area.after(state);
  const show = () => {
    let message = "";
    try {
      if (area.value.trim()) JSON.parse(area.value);
    } catch (error) {
      message = error.message;
    }
    state.textContent = message;
    state.classList.toggle("wrong", message !== "");
  };
  area.addEventListener("input", show);
}

// One more line for a child: a copy of the blank one, with a number of its own.
function addChild(group) {
  const number = Date.now().toString(36);
  const line = group.querySelector("template").content.cloneNode(true);
  for (const element of line.querySelectorAll("[name], [id], [for], [aria-describedby]")) {
    for (const name of ["name", "id", "for", "aria-describedby"]) {
      if (element.hasAttribute(name)) element.setAttribute(name, element.getAttribute(name).replace("|new-N|", `|new-${number}|`));
    }
  }
  const fields = [...line.querySelectorAll("input[data-lookup]")];
  const first = line.querySelector("input:not([type=hidden]), select, textarea");
  group.querySelector("[data-add-child]").before(line);
  for (const field of fields) new Reference(field);
  first.focus();
}

// The address must not say again on a reload what was done once.
function forgetDone() {
  const address = new URL(location.href);
  if (!address.searchParams.has("done")) return;
  address.searchParams.delete("done");
  history.replaceState(history.state, "", address);
}

document.addEventListener("DOMContentLoaded", () => {
  forgetDone();
  document.querySelector("[data-theme-toggle]")?.addEventListener("click", toggleTheme);
  const menu = document.querySelector("[data-menu]");
  menu?.addEventListener("click", () => toggleMenu(menu));
  keepAreas(document.querySelectorAll("details[data-area]"));
  for (const form of document.querySelectorAll("form[data-confirm]")) {
    form.addEventListener("submit", (event) => {
      if (!confirm(form.dataset.confirm)) event.preventDefault();
    });
  }
  // What is kept with the account counts from now on, not what this browser chose before.
  document.querySelector("form[data-theme-form]")?.addEventListener("submit", forgetTheme);
  for (const select of document.querySelectorAll("select[data-submit]")) {
    select.addEventListener("change", () => select.form.requestSubmit());
  }
  for (const field of document.querySelectorAll("input[data-lookup]")) new Reference(field);
  for (const form of document.querySelectorAll("form.form")) guard(form);
  for (const form of document.querySelectorAll("form[method=post]")) sendOnce(form);
  watchConnection();
  for (const area of document.querySelectorAll("textarea.code")) checkJson(area);
  for (const group of document.querySelectorAll("[data-children]")) {
    group.querySelector("[data-add-child]")?.addEventListener("click", () => addChild(group));
  }
});
