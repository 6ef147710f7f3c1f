// Makes elements, formats figures, builds tables. Text of models, providers and users becomes text nodes, never markup.

export const el = (tag, properties = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "on") for (const [event, heard] of Object.entries(value)) node.addEventListener(event, heard);
    else if (name === "class") node.className = value;
    else if (name in node && name !== "list" && typeof value !== "string") node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
};

export const shape = (tag, properties = {}, ...children) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(properties)) if (value !== undefined && value !== null) node.setAttribute(name, value);
  node.append(...children.flat().filter(Boolean));
  return node;
};

export const byId = (id) => document.getElementById(id);
export const unique = (values) => [...new Set(values)];
export const sum = (values) => values.reduce((total, one) => total + one, 0);

// --- figures ---------------------------------------------------------------------------------------------------
export const NONE = "–";
export const number = (value, digits = 1) => (value === null || value === undefined ? NONE : value.toFixed(digits));
export const signed = (value, digits = 1) => (value === null || value === undefined ? NONE : (value < 0 ? "−" : "+") + Math.abs(value).toFixed(digits));
export const count = (value) => (value === null || value === undefined ? NONE : Math.round(value).toLocaleString("en-US"));
export const money = (value) => (value === null || value === undefined ? NONE : "$" + value.toFixed(value < 1 ? 4 : 2));
export const share = (part, whole) => (whole ? `${((100 * part) / whole).toFixed(1)} %` : NONE);
export const seconds = (value) => {
  if (value === null || value === undefined) return NONE;
  if (value < 0.0995) return `${Math.round(value * 1000)} ms`;
  if (value < 9.95) return `${value.toFixed(2)} s`;
  if (value < 120) return `${value.toFixed(0)} s`;
  return value < 7200 ? `${(value / 60).toFixed(0)} min` : `${(value / 3600).toFixed(1)} h`;
};
export const clock = (value) => {
  if (value === null || value === undefined) return NONE;
  const whole = Math.round(value);
  const two = (part) => String(part).padStart(2, "0");
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
};
export const moment = (at) => new Date(1000 * at).toISOString().replace("T", " ").slice(0, 16) + " UTC";
export const timeOfDay = (at) => new Date(1000 * at).toLocaleTimeString("en-GB");

// --- names: cut in the middle, whole in the tooltip -------------------------------------------------------------
export const middleCut = (text, width) => {
  const letters = Array.from(text);
  if (letters.length <= width) return text;
  const end = Math.floor((width - 1) / 2);
  return letters.slice(0, width - 1 - end).join("") + "…" + letters.slice(letters.length - end).join("");
};
export const nameOf = (text, width = 34) => {
  const cut = middleCut(text, width);
  return el("bdi", { class: "name", title: cut === text ? null : text, "aria-label": cut === text ? null : text }, cut);
};

// --- words with their meaning in place ---------------------------------------------------------------------------
let glossary = {};
export const useGlossary = (words) => { glossary = words ?? {}; };
export const term = (word, label = word) =>
  glossary[word] ? el("span", { class: "term", tabindex: "0", "data-note": glossary[word], "aria-description": glossary[word] }, label) : label;
export const showNotes = () => {
  const note = el("div", { id: "note", role: "tooltip", hidden: true });
  document.body.append(note);
  const show = (event) => {
    const word = event.target.closest?.(".term");
    note.hidden = !word;
    if (!word) return;
    note.textContent = word.dataset.note;
    const box = word.getBoundingClientRect();
    note.style.left = `${Math.max(8, Math.min(box.left, innerWidth - note.offsetWidth - 8))}px`;
    note.style.top = `${box.bottom + 6 + note.offsetHeight > innerHeight ? box.top - note.offsetHeight - 6 : box.bottom + 6}px`;
  };
  for (const event of ["mouseover", "focusin", "click"]) document.addEventListener(event, show);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") note.hidden = true; });
  addEventListener("scroll", () => { note.hidden = true; }, { passive: true, capture: true });
};

// --- tables -------------------------------------------------------------------------------------------------------
const orders = new Map();
const compared = (a, b) => {
  if (a === b) return 0;
  if (a === null || a === undefined) return 1;
  if (b === null || b === undefined) return -1;
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
};

// columns: {key, label, word, left, value(row), cell(row), name, wide}; the first column stays in view.
export const table = ({ id, label, columns, rows, caption, sortable = true, rowClass }) => {
  const order = orders.get(id);
  const body = el("tbody");
  const draw = () => {
    const now = orders.get(id);
    const column = now && columns.find((one) => one.key === now.key);
    const sorted = column ? [...rows].sort((a, b) => (now.down ? -1 : 1) * compared(column.value(a), column.value(b))) : rows;
    body.replaceChildren(...sorted.map((row) =>
      el("tr", { class: rowClass?.(row) }, columns.map((one, place) => {
        const content = one.cell ? one.cell(row) : one.value(row) ?? NONE;
        const classes = [one.left || place === 0 ? "left" : "", one.class ?? "", one.cellClass?.(row) ?? ""].join(" ").trim();
        return el(place === 0 ? "th" : "td", { class: classes, scope: place === 0 ? "row" : null }, content);
      }))));
  };
  const heads = columns.map((one, place) => {
    const sorted = order?.key === one.key ? (order.down ? "descending" : "ascending") : null;
    const title = one.word ? term(one.word, one.label) : one.label;
    const head = el("th", { scope: "col", class: one.left || place === 0 ? "left" : "", "aria-sort": sorted }, title);
    if (!sortable || !one.value || !one.label) return head;
    const press = el("button", { type: "button", class: "sort", "data-key": `${id}:${one.key}`, "aria-label": `sort by ${one.label}`, on: { click: () => {
      const was = orders.get(id);
      orders.set(id, { key: one.key, down: was?.key === one.key ? !was.down : true });
      for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", orders.get(id).down ? "descending" : "ascending");
      draw();
    } } }, "⇅");
    head.append(" ", press);
    return head;
  });
  draw();
  const frame = el("div", { class: "wide", tabindex: "0", role: "region", "aria-label": label, "data-key": `frame:${id}` },
    el("table", { id }, caption ? el("caption", {}, caption) : null, el("thead", {}, el("tr", {}, heads)), body));
  const mark = () => {
    frame.classList.toggle("more-right", frame.scrollLeft + frame.clientWidth < frame.scrollWidth - 2);
  };
  frame.addEventListener("scroll", mark, { passive: true });
  new ResizeObserver(mark).observe(frame);
  return frame;
};

// Replaces what a part shows; the focus and the places of scrolled frames stay where they were.
export const redraw = (place, ...content) => {
  const key = place.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  const scrolled = new Map([...place.querySelectorAll("[data-key^='frame:']")].map((one) => [one.dataset.key, one.scrollLeft]));
  const open = new Set([...place.querySelectorAll("details[open][data-key]")].map((one) => one.dataset.key));
  place.replaceChildren(...content.flat().filter(Boolean));
  for (const one of place.querySelectorAll("[data-key]")) {
    if (scrolled.has(one.dataset.key)) one.scrollLeft = scrolled.get(one.dataset.key);
    if (open.has(one.dataset.key)) one.open = true;
    if (key && one.dataset.key === key) one.focus({ preventScroll: true });
  }
};
