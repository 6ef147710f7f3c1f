// A box for one SELECT; the answer as a table, and as a chart where its columns allow one.
import { xyLines } from "./charts.js";
import { count, el, number, table } from "./dom.js";

const EXAMPLES = [
  "SELECT method, outcome, count(*) AS episodes FROM scores GROUP BY ALL ORDER BY ALL",
  "SELECT * FROM calls_by_method",
  "SELECT floor((sent_at - (SELECT min(sent_at) FROM calls)) / 10) * 10 AS seconds, count(*) AS calls FROM calls GROUP BY ALL ORDER BY ALL",
  "SELECT method, error_class, http_status, count(*) AS calls FROM calls WHERE error_class IS NOT NULL GROUP BY ALL ORDER BY 4 DESC",
];

export const queryPart = (ask) => {
  const text = el("textarea", { id: "sql", rows: "3", spellcheck: "false", "aria-label": "one SELECT statement" });
  text.value = EXAMPLES[0];
  const answer = el("div", { id: "answer", role: "status" });
  const send = async () => {
    answer.replaceChildren(el("p", { class: "faint" }, "…"));
    const { names, rows, error, cut } = await ask(text.value);
    if (error) return answer.replaceChildren(el("p", { class: "alarm" }, error));
    const chart = chartOf(names, rows);
    answer.replaceChildren(
      ...[chart, table({ id: "answer-table", label: "answer", rows, columns: names.map((name, place) => ({
        key: String(place), label: name, left: rows.some((row) => typeof row[place] === "string"), value: (row) => row[place], cell: (row) => cell(row[place]) })) }),
      el("p", { class: "faint" }, `${count(rows.length)} rows${cut ? "; the rest is left out" : ""}`)].filter(Boolean));
  };
  text.addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) send(); });
  const examples = el("select", { "aria-label": "an example", on: { change: (event) => { text.value = event.target.value; } } }, EXAMPLES.map((one) => el("option", { value: one }, one)));
  return [
    el("p", { class: "faint" }, "One SELECT over the store's tables and views; nothing can be changed. Ctrl-Enter sends it."),
    el("div", { class: "controls" }, el("label", {}, "example", examples)), text,
    el("div", { class: "controls" }, el("button", { type: "button", id: "send", on: { click: send } }, "Ask")), answer,
  ];
};

const cell = (value) => {
  if (value === null) return "–";
  if (typeof value === "number") return Number.isInteger(value) ? String(value) : number(value, 4);
  return typeof value === "object" ? JSON.stringify(value) : String(value);
};

// Two to five columns of numbers, the first of them rising: lines over it.
const chartOf = (names, rows) => {
  const numeric = names.map((_, place) => rows.every((row) => row[place] === null || typeof row[place] === "number"));
  if (rows.length < 3 || names.length < 2 || names.length > 5 || !numeric.every(Boolean)) return null;
  const series = names.slice(1).map((name, place) => ({ name, points: rows.filter((row) => row[0] !== null && row[place + 1] !== null).map((row) => [row[0], row[place + 1]]) }));
  return xyLines({ title: names.slice(1).join(", "), note: `by ${names[0]}`, series, xLabel: (value) => number(value, 1), yLabel: (value) => number(value, 1) });
};
