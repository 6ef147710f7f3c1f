// The parts of the page, each drawn from the values: verdicts, scores, calls over time, cost, latency, causes.
import { axisAround, histogram, HUNDRED, interval, timeLines, xyLines } from "./charts.js";
import { clock, count, el, money, moment, nameOf, NONE, number, seconds, share, signed, sum, table, term, timeOfDay } from "./dom.js";

const BINS_A_DECADE = 24;
const WORDS = { DIFFERENT: "different", EQUIVALENT: "equivalent", INCONCLUSIVE: "open", DEVIATES: "different", CONSISTENT: "equivalent" };
const verdict = (word, label) => el("span", { class: `verdict ${WORDS[word] ?? "none"}` }, label ?? word ?? "not compared");
const span = (one, digits = 1, write = number) => el("span", { class: "value" }, write(one.value, digits),
  one.low === null || one.low === undefined ? "" : el("span", { class: "range" }, ` [${write(one.low, digits)}, ${write(one.high, digits)}]`));
const fold = (key, title, ...content) => el("details", { "data-key": `fold:${key}` }, el("summary", {}, title), content);
const p = (text, className = "") => (text ? el("p", { class: className }, text) : null);

// --- what a run does now -------------------------------------------------------------------------------------------
const figure = (name, value, note, word) => el("div", { class: "figure" },
  el("dt", {}, word ? term(word, name) : name), el("dd", { "data-figure": name }, value), note ? el("dd", { class: "note" }, note) : null);

export const overview = (values) => {
  const { run, calls = [], times, budget = {} } = values;
  const withBudget = (note, limit, write) => [note, limit === undefined ? "" : `budget ${write(limit)}`].filter(Boolean).join("; ");
  if (!calls.length && !run) return [p("Nothing has been played yet.", "faint")];
  const total = (key) => sum(calls.map((one) => one[key] ?? 0));
  const costs = calls.map((one) => one.cost_usd).filter((one) => one !== null);
  const last = (line) => line?.findLast((value) => value !== null) ?? 0;
  const errors = sum(Object.values(times?.errors_a_minute ?? {}).map(last));
  const done = run ? run.done : null;
  return [
    run ? el("div", { class: "progress", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": run.planned, "aria-valuenow": run.done, "aria-label": "episodes done" },
      bar(run.done, run.planned)) : null,
    el("dl", { class: "figures", "data-rows": values.rows },
      done === null ? null : figure("episodes done", `${count(run.done)}`, `of ${count(run.planned)}${run.failed ? `, ${count(run.failed)} failed` : ""}`),
      run?.to_go_s === undefined ? null : figure("to go", run.to_go_s === null ? NONE : clock(run.to_go_s),
        run.to_go_s === null ? "not known yet" : `between ${clock(run.to_go_low_s)} and ${clock(run.to_go_high_s)}`),
      figure("calls", count(total("calls")), withBudget(run?.turns_to_go ? `about ${count(run.turns_to_go)} more` : "", budget.calls, count)),
      figure("errors", count(total("errors")), `${share(total("errors"), total("calls"))}${values.live ? `; ${count(errors)} a minute now` : ""}`),
      figure("cost", money(costs.length ? sum(costs) : null), withBudget(costs.length ? "US dollars" : "no price is known", budget.cost_usd, money)),
      figure("tokens", count(total("tokens")), withBudget("", budget.tokens, count))),
    run?.trouble?.length ? el("ul", { class: "trouble" }, run.trouble.map((one) => el("li", { class: one.kind }, one.text))) : null,
  ];
};
const bar = (done, planned) => {
  const inner = el("div", { class: "done" });
  inner.style.width = `${planned ? (100 * done) / planned : 0}%`;
  return inner;
};

// --- methods ---------------------------------------------------------------------------------------------------------
export const methodFilter = { text: "", grouped: true };
export const methods = (values) => {
  const wanted = methodFilter.text.toLowerCase();
  const rows = (values.calls ?? []).filter((one) => one.method.toLowerCase().includes(wanted));
  const columns = (withModel) => [
    { key: "method", label: "method", value: (one) => one.method, cell: (one) => nameOf(withModel ? one.method : one.method.replace(`${one.model}/`, "")) },
    ...(values.live ? [
      { key: "state", label: "state", left: true, value: (one) => one.state ?? "" },
      { key: "done", label: "done", value: (one) => one.done, cell: (one) => (one.planned ? `${count(one.done)}/${count(one.planned)}` : count(one.done)) },
      { key: "go", label: "to go", value: (one) => one.to_go_s, cell: (one) => clock(one.to_go_s) },
    ] : []),
    { key: "calls", label: "calls", value: (one) => one.calls, cell: (one) => count(one.calls) },
    { key: "errors", label: "errors", value: (one) => one.errors, cell: (one) => count(one.errors), cellClass: (one) => (one.errors ? "bad" : "") },
    ...(values.live ? [{ key: "flight", label: "in flight", word: "in flight", value: (one) => one.in_flight, cell: (one) => (one.window ? `${count(one.in_flight)}/${count(one.window)}` : NONE) }] : []),
    { key: "p50", label: "p50", word: "p50", value: (one) => one.latency_s.p50, cell: (one) => seconds(one.latency_s.p50) },
    { key: "p95", label: "p95", word: "p95", value: (one) => one.latency_s.p95, cell: (one) => seconds(one.latency_s.p95) },
    { key: "cost", label: "US$", value: (one) => one.cost_usd, cell: (one) => money(one.cost_usd) },
    { key: "last", label: "last error", left: true, class: "words", value: (one) => one.last_error?.at, cell: (one) => errorText(one.last_error) },
  ];
  const groups = methodFilter.grouped ? [...new Set(rows.map((one) => one.model))] : [null];
  return groups.map((model) => {
    const shown = model === null ? rows : rows.filter((one) => one.model === model);
    return [
      model === null ? null : el("h3", {}, nameOf(model, 60)),
      table({ id: `methods-${model ?? "all"}`, label: `access methods${model ? ` of ${model}` : ""}`, columns: columns(model === null), rows: shown,
        rowClass: (one) => (one.calls && one.errors === one.calls ? "failing" : "") }),
    ];
  }).flat();
};
const errorText = (error) => error
  ? el("span", { title: error.text }, el("b", { class: "bad" }, error.status ? `HTTP ${error.status}` : error.error_class), ` ${count(error.count)}×, ${timeOfDay(error.at)}: `, error.text)
  : "";

// --- time lines --------------------------------------------------------------------------------------------------------
export const timeCharts = (values) => {
  const { times, events = [], live_lines: lines } = values;
  if (!times || times.first_at === null) return [p("No call with a time is stored.", "faint")];
  const base = { from: times.first_at, step: times.step_s, goesOn: values.state === "playing" };
  const marks = events.map((one) => ({ at: one.at, kind: one.kind, text: `${timeOfDay(one.at)} ${one.gate}: ${one.detail}` }));
  const errors = Object.entries(times.errors_a_minute).map(([name, line]) => ({ name, values: line }));
  return [
    el("div", { class: "charts" },
      timeLines({ ...base, title: "Requests a minute", series: [{ name: "sent", values: times.requests_a_minute }], limits: lines?.quota ? [{ name: "quota", value: lines.quota }] : [], marks }),
      timeLines({ ...base, title: "Calls in flight", note: "(mean)", series: [{ name: "in flight", values: times.in_flight }], limits: lines?.window ? [{ name: "window", value: lines.window }] : [], marks, format: (value) => number(value, 1) }),
      timeLines({ ...base, title: "Latency", note: "of answered calls", series: Object.entries(times.latency_s).map(([name, line]) => ({ name, values: line })), format: seconds }),
      errors.length ? timeLines({ ...base, title: "Errors a minute", series: errors, marks }) : null),
    events.length ? fold("events", `Gate events: the last ${events.length}`, table({
      id: "events", label: "gate events", rows: [...events].reverse(), columns: [
        { key: "at", label: "time", value: (one) => one.at, cell: (one) => timeOfDay(one.at) },
        { key: "gate", label: "gate", left: true, value: (one) => one.gate, cell: (one) => nameOf(one.gate) },
        { key: "detail", label: "what happened", left: true, class: "words", value: (one) => one.detail },
      ] })) : null,
  ];
};

// --- games: means on common items ------------------------------------------------------------------------------------------
export const games = (values) => {
  const { common = [] } = values;
  if (!common.length) return [p("No item has been finished by all access methods of a model yet.", "faint")];
  return [
    p("Only items that every access method of a model has finished: means can be compared. An aborted play counts 0.", "faint"),
    common.map((one) => table({
      id: `game-${one.model}-${one.game}`, label: `${one.game}, ${one.model}`, caption: `${one.game} · ${one.model}: ${count(one.methods[0].items)} common items`, rows: one.methods, columns: [
        { key: "method", label: "method", value: (row) => row.method, cell: (row) => nameOf(row.method) },
        { key: "mean", label: "mean score", word: "interval", value: (row) => row.value, cell: (row) => span(row) },
        { key: "line", label: "", class: "figure", cell: (row) => interval(HUNDRED, row) },
      ] })),
  ];
};

// --- verdicts ------------------------------------------------------------------------------------------------------------
const matrix = (part) => table({
  id: `matrix-${part.model}`, label: `verdicts of ${part.model}`, sortable: false, rows: part.rows, columns: [
    { key: "method", label: "method", cell: (row) => nameOf(row.method, 40) },
    { key: "scores", label: "scores", word: "scores", left: true, cell: (row) => verdict(row.scores, row.scores_label) },
    { key: "replies", label: "replies", word: "replies", left: true, cell: (row) => verdict(row.replies, row.replies_label ?? row.replies) },
    ...(part.weights.length ? [{ key: "weights", label: "weights", word: "weights", left: true, cell: (row) => verdict(row.weights, row.weights_label) }] : []),
    { key: "sentence", label: "in one sentence", left: true, class: "words", cell: (row) => [row.sentence, row.to_settle ? el("span", { class: "faint" }, ` ${row.to_settle}`) : ""] },
  ] });

const differences = (part) => {
  const rows = part.rows.filter((row) => row.points);
  if (!rows.length) return null;
  const axis = axisAround([...rows.flatMap((row) => [row.points.low, row.points.high]), -part.margin, part.margin, 0]);
  return table({
    id: `points-${part.model}`, label: `differences of ${part.model}`, rows,
    caption: ["Score minus the reference's score, in points, with its 95 % interval; the green band is the ", term("margin"), ` of ${number(part.margin)}.`],
    columns: [
      { key: "method", label: "method", value: (row) => row.method, cell: (row) => nameOf(row.method) },
      { key: "items", label: "items", word: "items", value: (row) => row.points.items, cell: (row) => `${count(row.points.items)} × ${row.points.repeats}` },
      { key: "points", label: "difference", value: (row) => row.points.value, cell: (row) => span(row.points, 1, signed) },
      { key: "line", label: "", class: "figure", cell: (row) => interval(axis, row.points, part.margin) },
      { key: "equal", label: "equal replies", word: "equal replies", value: (row) => row.equal },
    ] });
};

const weights = (part) => {
  if (!part.weights.length) return null;
  const axis = axisAround([...part.weights.flatMap((row) => [row.low, row.value, row.high]).filter((value) => value !== null), 0]);
  return table({
    id: `weights-${part.model}`, label: `token margins of ${part.model}`, rows: part.weights,
    caption: ["Mean ", term("token margin"), " by the reference's weights, each token's margin cut at 0.02, minus that of the reference's own replies, in nats, with its 95 % interval. The line is no difference. To its right: other weights or another precision."],
    columns: [
      { key: "method", label: "method", value: (row) => row.method, cell: (row) => nameOf(row.method) },
      { key: "verdict", label: "weights", word: "weights", left: true, cell: (row) => verdict(row.verdict) },
      { key: "tokens", label: "tokens", value: (row) => row.tokens, cell: (row) => count(row.tokens) },
      { key: "margin", label: "difference", value: (row) => row.value, cell: (row) => span(row, 5, signed) },
      { key: "line", label: "", class: "figure", cell: (row) => interval(axis, row, 0) },
      { key: "unlike", label: "unlike tokens", value: (row) => row.unlike, cell: (row) => `${number(100 * row.unlike, 1)} %, reference ${number(100 * row.reference_unlike, 1)} %` },
    ] });
};

const byGame = (part) => {
  const rows = part.rows.filter((row) => row.games.length);
  const names = [...new Set(rows.flatMap((row) => row.games.map((one) => one.game)))];
  if (!rows.length) return null;
  const of = (row, name) => row.games.find((one) => one.game === name);
  return table({
    id: `heat-${part.model}`, label: `differences by game of ${part.model}`, rows,
    caption: "Difference in points by game. Red: fewer points than the reference. Blue: more. A dot: significant after adjustment for all games.",
    columns: [
      { key: "method", label: "method", value: (row) => row.method, cell: (row) => nameOf(row.method) },
      ...names.map((name) => ({
        key: name, label: name, value: (row) => of(row, name)?.value ?? null,
        cell: (row) => { const one = of(row, name); return one ? el("span", { title: `due to format ${signed(one.by_format)}, due to quality ${signed(one.by_quality)}, % played ${number(one.played[0])} → ${number(one.played[1])}` }, `${signed(one.value)}${one.significant ? " •" : ""}`) : NONE; },
        cellClass: (row) => heat(of(row, name)?.value),
      })),
    ] });
};
const heat = (value) => {
  if (value === undefined || value === null) return "";
  const step = [1, 3, 8, 20].filter((edge) => Math.abs(value) >= edge).length;
  return step ? `heat ${value < 0 ? "less" : "more"}-${step}` : "";
};

const moved = (part) => part.rows.filter((row) => row.furthest.length).map((row) => table({
  id: `moved-${row.method}`, label: `items of ${row.method}`, caption: [nameOf(row.method), ": the items with the largest differences"], rows: row.furthest, columns: [
    { key: "item", label: "item", value: (one) => one[0], cell: (one) => nameOf(one[0], 44) },
    { key: "reference", label: "reference", value: (one) => one[1], cell: (one) => number(one[1]) },
    { key: "method", label: "method", value: (one) => one[2], cell: (one) => number(one[2]) },
    { key: "line", label: "", class: "figure", cell: (one) => interval(HUNDRED, { value: one[2], low: Math.min(one[1], one[2]), high: Math.max(one[1], one[2]) }) },
  ] }));
const curves = (part) => part.rows.filter((row) => row.survival.length > 1).map((row) => xyLines({
  title: row.method, note: ": how many pairs of replies to the same prompt are still equal after this number of bytes", yTop: 1, step: true,
  series: [{ name: "two replies of one method", points: row.survival.map((one) => [one[0], one[1]]) }, { name: "one reply of each method", points: row.survival.map((one) => [one[0], one[2]]) }],
  xLabel: (value) => count(Math.max(0, value)), yLabel: (value) => `${Math.round(100 * value)} %` }));

export const verdicts = (values) => {
  const { verdicts: all } = values;
  if (!all) return [p("The verdicts are being computed.", "faint")];
  if (all.why_none) return [p(`No verdicts: ${all.why_none}.`)];
  return [
    ...all.models.map((part) => [
      el("h3", {}, nameOf(part.model, 60), el("span", { class: "faint" }, ` compared with ${part.reference}`)),
      p(part.alarm, "alarm"),
      p(part.opening),
      part.complete ? null : p(part.plays[0], "open-note"),
      matrix(part), part.causes.map((line) => p(line, "cause")), part.complete ? null : part.plays.slice(1).map((line) => p(line, "faint")), differences(part), weights(part), byGame(part), p(part.noise), p(part.plan, "faint"),
      part.rows.some((row) => row.furthest.length || row.survival.length > 1)
        ? fold(`figures-${part.model}`, `${part.model}: items and replies`, moved(part), el("div", { class: "charts" }, curves(part))) : null,
      fold(`evidence-${part.model}`, `${part.model}: the evidence, test by test`, part.evidence.map((line) => p(line)), part.complete ? part.plays.map((line) => p(line, "faint")) : null),
    ]).flat(),
    p(all.reading, "faint"),
  ];
};

// --- scores ----------------------------------------------------------------------------------------------------------------
export const scores = (values) => {
  if (!values.scores) return [p("The scores are being computed.", "faint")];
  const rows = values.scores.flatMap((part) => part.methods);
  return [
    table({ id: "scores", label: "scores", rows, columns: [
      { key: "method", label: "method", value: (one) => one.method, cell: (one) => [nameOf(one.method), one.published ? " (published averages)" : ""] },
      { key: "clemscore", label: "clemscore", word: "clemscore", value: (one) => one.value, cell: (one) => span(one) },
      { key: "line", label: "", class: "figure", cell: (one) => interval(HUNDRED, one) },
      { key: "common", label: "shared games only", word: "common", value: (one) => one.common, cell: (one) => number(one.common) },
      { key: "played", label: "% played", word: "% played", value: (one) => one.played, cell: (one) => number(one.played) },
      { key: "quality", label: "quality", word: "quality", value: (one) => one.quality, cell: (one) => number(one.quality) },
      { key: "episodes", label: "episodes", value: (one) => one.episodes, cell: (one) => count(one.episodes) },
      { key: "aborted", label: "aborted", word: "aborted", value: (one) => one.aborted, cell: (one) => count(one.aborted) },
      { key: "failed", label: "failed", word: "failed", value: (one) => one.failed, cell: (one) => count(one.failed), cellClass: (one) => (one.failed ? "bad" : "") },
    ] }),
    values.scores.flatMap((part) => part.plays).map((line) => p(line, "faint")),
    ...values.scores.map((part) => fold(`games-${part.model}`, `${part.model} by game`, table({
      id: `by-game-${part.model}`, label: `scores by game of ${part.model}`, rows: part.methods.flatMap((one) => one.games.map((game) => ({ ...game, method: one.method }))), columns: [
        { key: "method", label: "method", value: (one) => one.method, cell: (one) => nameOf(one.method) },
        { key: "game", label: "game", left: true, value: (one) => one.game },
        { key: "played", label: "% played", word: "% played", value: (one) => one.played[0], cell: (one) => span(triple(one.played)) },
        { key: "quality", label: "quality", word: "quality", value: (one) => one.quality[0], cell: (one) => span(triple(one.quality)) },
        { key: "line", label: "", class: "figure", cell: (one) => interval(HUNDRED, triple(one.quality)) },
        { key: "episodes", label: "episodes", value: (one) => one.episodes, cell: (one) => count(one.episodes) },
        { key: "aborted", label: "aborted", value: (one) => one.aborted, cell: (one) => count(one.aborted) },
      ] }))),
    sizes(values.sizes),
  ];
};
const triple = ([value, low, high]) => ({ value, low, high });

const sizes = (fit) => {
  if (!fit) return null;
  const [slope, low, high] = fit.slope;
  const points = fit.points.map(([, parameters, score]) => [Math.log10(parameters * 1e9), score]);
  return [
    el("h3", {}, "Score against parameters"),
    p(`With ten times the parameters, clemscore changes by ${signed(slope)} [${signed(low)}, ${signed(high)}] points. R² is ${number(fit.r2, 2)} over ${fit.points.length} models. Each model is one point: the mean of its access methods without quantisation.`),
    xyLines({ title: "Clemscore against parameters", note: "(logarithmic)", points: true, yTop: 100, series: [{ name: "models", points }], xLabel: (value) => `${number(10 ** value / 1e9, 1)}B`, yLabel: (value) => number(value, 0) }),
    table({ id: "sizes", label: "models by size", rows: fit.points, columns: [
      { key: "model", label: "model", value: (one) => one[0], cell: (one) => nameOf(one[0]) },
      { key: "parameters", label: "parameters", value: (one) => one[1], cell: (one) => `${number(one[1], 2)}B` },
      { key: "score", label: "clemscore", value: (one) => one[2], cell: (one) => number(one[2]) },
    ] }),
  ];
};

// --- cost, latency, causes ------------------------------------------------------------------------------------------------------
export const cost = (values) => {
  const rows = values.cost ?? [];
  return [
    table({ id: "cost-table", label: "cost and time", rows, columns: [
      { key: "method", label: "method", value: (one) => one.method, cell: (one) => nameOf(one.method, 28) },
      { key: "calls", label: "calls", value: (one) => one.calls, cell: (one) => count(one.calls) },
      { key: "errors", label: "errors", value: (one) => one.errors, cell: (one) => count(one.errors), cellClass: (one) => (one.errors ? "bad" : "") },
      { key: "retries", label: "retries", word: "retries", value: (one) => one.retries, cell: (one) => count(one.retries) },
      { key: "in", label: "tokens in", value: (one) => one.prompt_tokens, cell: (one) => count(one.prompt_tokens) },
      { key: "out", label: "tokens out", value: (one) => one.completion_tokens, cell: (one) => count(one.completion_tokens) },
      { key: "usd", label: "US$", value: (one) => one.cost_usd, cell: (one) => money(one.cost_usd) },
      { key: "busy", label: "first to last call", value: (one) => one.busy_s, cell: (one) => seconds(one.busy_s) },
      { key: "rate", label: "calls/s", value: (one) => (one.busy_s ? one.calls / one.busy_s : null), cell: (one) => number(one.busy_s ? one.calls / one.busy_s : null, 2) },
      { key: "queue", label: "mean wait", value: (one) => one.queue_s, cell: (one) => seconds(one.queue_s) },
    ] }),
    p("A dash: not known. Costs need prices in the sweep file. The time from first to last call is that of each run, added up: pauses between runs do not count. The mean wait is the time at the gate, before a call is sent.", "faint"),
  ];
};

export const latency = (values) => {
  const rows = (values.calls ?? []).filter((one) => one.histogram.length);
  if (!rows.length) return [p("No answered call has a time.", "faint")];
  const places = rows.flatMap((one) => one.histogram.map(([place]) => place));
  const [first, last] = [Math.min(...places), Math.max(...places) + 1];
  const edge = (place) => seconds(10 ** (place / BINS_A_DECADE));
  return table({ id: "latency-table", label: "latency", rows,
    caption: `Time from sending a request to the end of its reply. Each strip shows the calls of one method on a logarithmic scale from ${edge(first)} to ${edge(last)}. Red ticks: p50, p95 and p99.`,
    columns: [
      { key: "method", label: "method", value: (one) => one.method, cell: (one) => nameOf(one.method) },
      { key: "strip", label: "", class: "figure", cell: (one) => histogram(one.histogram, [first, last], Object.values(one.latency_s), BINS_A_DECADE) },
      ...["p50", "p95", "p99"].map((key) => ({ key, label: key, word: key, value: (one) => one.latency_s[key], cell: (one) => seconds(one.latency_s[key]) })),
    ] });
};

const ERRORS_MAX = 60; // rows: two screens
export const failedRequests = (values) => {
  const rows = (values.calls ?? []).flatMap((one) => one.error_causes.map((cause) => ({ ...cause, method: one.method, calls: one.calls })))
    .sort((a, b) => b.count - a.count);
  if (!rows.length) return [p("No request has failed.", "faint")];
  return [
    p("Requests that failed, by access method and cause. A failed request is repeated; an episode fails only when its last try has failed.", "faint"),
    table({ id: "errors", label: "failed requests by access method and cause", rows: rows.slice(0, ERRORS_MAX), columns: [
      { key: "method", label: "method", value: (one) => one.method, cell: (one) => nameOf(one.method) },
      { key: "class", label: "class", left: true, value: (one) => one.error_class },
      { key: "status", label: "HTTP status", value: (one) => one.status },
      { key: "count", label: "requests", value: (one) => one.count, cell: (one) => count(one.count) },
      { key: "share", label: "share", value: (one) => one.count / one.calls, cell: (one) => share(one.count, one.calls) },
      { key: "at", label: "last at", value: (one) => one.at, cell: (one) => timeOfDay(one.at) },
      { key: "text", label: "last message", left: true, class: "words", value: (one) => one.text },
    ] }),
    rows.length > ERRORS_MAX ? p(`${count(rows.length - ERRORS_MAX)} rarer causes are left out.`, "faint") : null,
  ];
};

export const causes = (values, open) => {
  const all = values.causes;
  if (!all) return [p("The causes are being counted.", "faint")];
  if (!all.rows.length) return [p("No episode was aborted or failed.", "faint")];
  return [
    p("Episodes that ended early, by cause. Aborted: a reply of the model broke the format, or the game had no end after its limit of turns. Failed: the provider gave no reply, so the episode has no score.", "faint"),
    table({ id: "causes", label: "aborts and failures by cause", rows: all.rows, columns: [
      { key: "cause", label: "cause", class: "words", value: (one) => one.cause },
      { key: "count", label: "episodes", value: (one) => one.count, cell: (one) => count(one.count) },
      { key: "ended", label: "outcome", left: true, value: (one) => one.ended, cell: (one) => term(one.ended) },
      { key: "game", label: "game", left: true, value: (one) => one.game },
      { key: "methods", label: "by method, with an example", left: true, class: "words", cell: (one) => [
        one.methods.flatMap((each, at) => [at ? ", " : "", `${count(each.count)} `, each.example ? el("a", { href: `#play=${each.example}`, on: { click: (event) => { event.preventDefault(); open(each.example); } } }, nameOf(each.method)) : nameOf(each.method)]),
        one.more_methods ? `, and ${one.more_methods} more` : ""].flat() },
    ] }),
    all.more ? p(`${all.more} rarer causes are left out.`, "faint") : null,
  ];
};

export const about = (values) => [
  values.made_at ? `Page made ${moment(values.made_at)}` : "",
  values.sweep ? ` from ${values.title}; last run of ${values.sweep.name} with lightbulb ${values.sweep.version}, begun ${moment(values.sweep.at)}` : "",
  values.live ? "" : ". This page loads nothing and sends nothing.",
];
