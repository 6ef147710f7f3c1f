// Load tests: what was measured, the curves over the levels of load, and every stage in a table.
import { levelLines, xyLines } from "./charts.js";
import { count, el, moment, nameOf, NONE, number, seconds, table, unique } from "./dom.js";

const percent = (share) => (share === null || share === undefined ? NONE : `${number(100 * share, 0)} %`);
const rate = (value) => (value === null || value === undefined ? NONE : number(value, value < 10 ? 2 : value < 100 ? 1 : 0));
const loadOf = (one) => ({ closed: `${one.level} in flight`, open: `${one.level} a second`, trace: `trace × ${one.level}` })[one.loop];
const given = (values) => values.filter((value) => value !== null && value !== undefined);
const mean = (values) => (given(values).length ? given(values).reduce((a, b) => a + b, 0) / given(values).length : null);

// Repeats of a level are one point: the mean of their values.
const levelsOf = (stages, loop) => {
  const levels = unique(stages.filter((one) => one.loop === loop).map((one) => one.level)).sort((a, b) => a - b);
  return levels.map((level) => {
    const repeats = stages.filter((one) => one.loop === loop && one.level === level);
    return { level, of: (value) => mean(repeats.map(value)) };
  });
};
const series = (levels, lines) => Object.entries(lines).map(([name, value]) => ({ name, values: levels.map((one) => one.of(value)) }));

const charts = (run, loop) => {
  const levels = levelsOf(run.stages, loop);
  if (levels.length < 2) return [];
  const words = { closed: "calls in flight", open: "requests a second offered", trace: "speed of the trace" }[loop];
  const base = { levels: levels.map((one) => one.level), note: `by ${words}` };
  const times = (key) => series(levels, { mean: (one) => one[key].mean, p50: (one) => one[key].p50, p90: (one) => one[key].p90, p99: (one) => one[key].p99 })
    .filter((one) => given(one.values).length);
  const points = levels.map((one) => [one.of((stage) => stage.requests_per_s), one.of((stage) => stage.e2e_s.mean)]).filter((pair) => given(pair).length === 2);
  return [
    xyLines({ title: "Throughput against latency", note: `mean E2E over requests a second, by ${words}`, series: [{ name: loop, points }], xLabel: (value) => `${rate(value)}/s`, yLabel: seconds }),
    levelLines({ ...base, title: "TTFT", series: times("ttft_s"), format: seconds }),
    levelLines({ ...base, title: "TPOT", series: times("tpot_s"), format: seconds }),
    levelLines({ ...base, title: "E2E", series: times("e2e_s"), format: seconds }),
    levelLines({ ...base, title: "Requests a second", series: series(levels, { answered: (one) => one.requests_per_s, goodput: (one) => one.goodput_per_s, ...(loop === "closed" ? {} : { offered: (one) => one.offered_per_s }) }), format: rate }),
    levelLines({ ...base, title: "Output tokens a second", series: series(levels, { tokens: (one) => one.output_tokens_per_s }), format: rate }),
    levelLines({ ...base, title: "The server's requests", note: `as it reports them, by ${words}`, series: series(levels, { running: (one) => one.running, waiting: (one) => one.waiting }), format: rate }),
    levelLines({ ...base, title: "Prompt tokens from the cache", note: `by ${words}`, series: series(levels, { "as replies say": (one) => one.cached_share, "as the server reports": (one) => one.prefix_hit_share }), format: percent }),
  ].filter(Boolean);
};

const withN = (key, quantile) => (one) => (one[key][quantile] === null || one[key][quantile] === undefined ? NONE : seconds(one[key][quantile]));
const stageTable = (run, place) => table({
  id: `bench-${place}`, label: `stages of ${run.method}`, rows: run.stages, columns: [
    { key: "load", label: "load", value: (one) => one.level, cell: (one) => loadOf(one) },
    { key: "n", label: "n", word: "n", value: (one) => one.e2e_s.n, cell: (one) => count(one.e2e_s.n ?? null) },
    { key: "errors", label: "errors", value: (one) => one.errors, cell: (one) => count(one.errors), cellClass: (one) => (one.errors ? "bad" : "") },
    { key: "rate", label: "requests/s", value: (one) => one.requests_per_s, cell: (one) => rate(one.requests_per_s) },
    { key: "goodput", label: "goodput", word: "goodput", value: (one) => one.goodput_share, cell: (one) => percent(one.goodput_share) },
    { key: "tokens", label: "tokens/s", value: (one) => one.output_tokens_per_s, cell: (one) => rate(one.output_tokens_per_s) },
    { key: "ttft", label: "TTFT", word: "TTFT", value: (one) => one.ttft_s.mean, cell: withN("ttft_s", "mean") },
    { key: "ttft99", label: "p99", value: (one) => one.ttft_s.p99, cell: withN("ttft_s", "p99") },
    { key: "tpot", label: "TPOT", word: "TPOT", value: (one) => one.tpot_s.mean, cell: withN("tpot_s", "mean") },
    { key: "itl99", label: "ITL p99", word: "ITL", value: (one) => one.itl_s.p99, cell: withN("itl_s", "p99") },
    { key: "e2e", label: "E2E", word: "E2E", value: (one) => one.e2e_s.mean, cell: withN("e2e_s", "mean") },
    { key: "e2e99", label: "p99", value: (one) => one.e2e_s.p99, cell: withN("e2e_s", "p99") },
    { key: "in", label: "in/out", value: (one) => one.prompt_tokens, cell: (one) => `${rate(one.prompt_tokens)}/${rate(one.completion_tokens)}` },
    { key: "cached", label: "cached", value: (one) => one.cached_share ?? one.prefix_hit_share, cell: (one) => percent(one.cached_share ?? one.prefix_hit_share) },
    { key: "cpu", label: "CPU", word: "client CPU", value: (one) => one.cpu_share, cell: (one) => percent(one.cpu_share) },
    { key: "lag", label: "delay", word: "client delay", value: (one) => one.lag_s, cell: (one) => seconds(one.lag_s) },
  ] });

const turnTable = (run, place) => {
  const rows = run.stages.flatMap((stage) => stage.by_turn.map((turn) => ({ ...turn, stage })));
  if (!rows.length) return [];
  return table({
    id: `bench-turns-${place}`, label: `turns of ${run.method}`, rows, columns: [
      { key: "load", label: "load", value: (one) => one.stage.level, cell: (one) => loadOf(one.stage) },
      { key: "turn", label: "turn", value: (one) => one.turn, cell: (one) => (one.last > one.turn ? `${one.turn + 1}–${one.last + 1}` : count(one.turn + 1)) },
      { key: "n", label: "n", word: "n", value: (one) => one.ttft_s.n, cell: (one) => count(one.ttft_s.n ?? null) },
      { key: "ttft", label: "TTFT", word: "TTFT", value: (one) => one.ttft_s.mean, cell: withN("ttft_s", "mean") },
      { key: "ttft50", label: "p50", value: (one) => one.ttft_s.p50, cell: withN("ttft_s", "p50") },
      { key: "ttft90", label: "p90", value: (one) => one.ttft_s.p90, cell: withN("ttft_s", "p90") },
      { key: "in", label: "prompt tokens", value: (one) => one.prompt_tokens, cell: (one) => rate(one.prompt_tokens) },
      { key: "cached", label: "cached", value: (one) => one.cached_share, cell: (one) => percent(one.cached_share) },
    ] });
};

const notes = (run) => [
  ...run.stages.filter((one) => one.refused).map((one) => el("p", { class: "alarm" }, `${loadOf(one)}: no figures: ${one.refused}.`)),
  ...run.stages.filter((one) => one.saturated).map((one) => el("p", { class: "alarm" }, `${loadOf(one)}: saturated: ${rate(one.offered_per_s)} requests a second were offered and ${rate(one.achieved_per_s)} answered.`)),
];

export const loadTests = (values) => {
  const runs = values.bench ?? [];
  if (!runs.length) return [el("p", { class: "faint" }, "No load test is stored: lightbulb bench measures one.")];
  return runs.map((run, place) => [
    el("h3", {}, nameOf(run.method, 60), ` ${run.run}${run.label ? ` “${run.label}”` : ""} · ${moment(run.at)}`),
    notes(run),
    el("div", { class: "charts" }, ["closed", "open", "trace"].flatMap((loop) => charts(run, loop))),
    stageTable(run, place),
    turnTable(run, place),
    el("details", { "data-key": `fold:bench-${place}` }, el("summary", {}, "What was measured, and the windows of the figures"),
      el("dl", { class: "glossary" }, run.facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])),
      el("ul", {}, run.stages.map((one) => el("li", {}, `${loadOf(one)}: ${one.window}`)))),
  ]).flat(3);
};
