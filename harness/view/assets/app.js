// Draws the page: from the values in the file, or live from the server that serves it.
import { byId, clock, count, el, nameOf, redraw, showNotes, table, unique, useGlossary, moment, number } from "./dom.js";
import { loadTests } from "./bench.js";
import { queryPart } from "./query.js";
import { about, causes, cost, failedRequests, games, latency, methodFilter, methods, overview, scores, timeCharts, verdicts } from "./sections.js";
import { episodeFilter, episodeTable, openEpisode, transcriptPart, useSource } from "./transcripts.js";

// id, title, the parts of the values that it shows, how it is drawn
const PARTS = [
  ["overview", "Overview", ["run", "calls", "times", "rows", "budget"], overview],
  ["verdicts", "Is it the same model?", ["verdicts"], verdicts],
  ["scores", "Scores", ["scores"], scores],
  ["games", "Games so far", ["common"], games],
  ["methods", "Access methods", ["calls", "run"], methods],
  ["times", "Over time", ["times", "events", "live_lines", "state"], timeCharts],
  ["cost", "Cost and time", ["cost"], cost],
  ["latency", "Latency", ["calls"], latency],
  ["failed", "Failed requests", ["calls"], failedRequests],
  ["causes", "Aborts and failures", ["causes"], (values) => causes(values, openEpisode)],
  ["bench", "Load tests", ["bench"], loadTests],
];
const LIVE_FIRST = ["overview", "methods", "times", "games", "verdicts", "scores", "cost", "latency", "failed", "causes", "bench"];
const FILE_FIRST = ["verdicts", "scores", "cost", "methods", "times", "latency", "failed", "causes"];

const values = {};
let drawn = new Set();

const section = (id, title, ...content) => el("section", { id, "aria-label": title }, el("h2", {}, title), content, el("div", { class: "body" }));
const draw = (id) => {
  const [, , , drawing] = PARTS.find(([name]) => name === id);
  const place = byId(id)?.querySelector(".body");
  if (place) redraw(place, [drawing(values)].flat(3));
};

const filters = () => [el("div", { class: "controls" },
  el("label", {}, "filter", el("input", { id: "filter", type: "search", placeholder: "part of a name", on: { input: (event) => { methodFilter.text = event.target.value; draw("methods"); } } })),
  el("label", { class: "tick" }, el("input", { id: "grouped", type: "checkbox", checked: true, on: { change: (event) => { methodFilter.grouped = event.target.checked; draw("methods"); } } }), "group by model"))];

const build = (live) => {
  const order = live ? LIVE_FIRST : FILE_FIRST;
  const sections = order.map((id) => {
    const [, title] = PARTS.find(([name]) => name === id);
    return section(id, title, id === "methods" ? filters() : []);
  });
  const episodes = section("episodes", live ? "Episodes as they end" : "Episodes", episodeControls());
  const extra = live ? [section("query", "Ask in SQL")] : [];
  byId("main").replaceChildren(...sections, episodes, ...transcriptPart(), ...extra, glossarySection());
  const links = [...order.map((id) => [id, PARTS.find(([name]) => name === id)[1]]), ["episodes", "Episodes"], ...(live ? [["query", "SQL"]] : []), ["words", "Words"]];
  byId("nav").replaceChildren(el("ul", {}, links.map(([id, title]) => el("li", {}, el("a", { href: `#${id}` }, title)))));
};

const glossarySection = () => el("section", { id: "words" }, el("h2", {}, "Words"),
  el("dl", { class: "glossary" }, Object.entries(values.glossary ?? {}).flatMap(([word, meaning]) => [el("dt", {}, word), el("dd", {}, meaning)])));

// --- episodes ----------------------------------------------------------------------------------------------------
let listEpisodes = async () => [];
const inEpisodes = () => byId("episodes").querySelector(".body").contains(document.activeElement);
const showEpisodes = async ({ unless = () => false } = {}) => {
  const { rows, note } = await listEpisodes(episodeFilter);
  if (unless()) return; // the list does not change under a person's hands
  redraw(byId("episodes").querySelector(".body"), episodeTable(rows, note, () => showEpisodes()).filter(Boolean));
};
const episodeControls = () => [el("div", { class: "controls" }, ["method", "game", "ended"].map((name) =>
  el("label", {}, name === "ended" ? "outcome" : name, el("select", { id: `by-${name}`, on: { change: (event) => { episodeFilter[name] = event.target.value; showEpisodes(); } } }))))];
const fillFilters = (choices) => {
  for (const [name, all] of Object.entries(choices)) {
    const select = byId(`by-${name}`);
    const wanted = [...["", ...all]];
    if (select.options.length === wanted.length) continue;
    select.replaceChildren(...wanted.map((one) => el("option", { value: one }, one || "all")));
    select.value = episodeFilter[name];
  }
};

// --- a page that is one file ----------------------------------------------------------------------------------------
const frozenBench = (all) => {
  Object.assign(values, all);
  useGlossary(values.glossary);
  byId("main").replaceChildren(section("bench", "Load tests"), glossarySection());
  byId("nav").replaceChildren(el("ul", {}, [["bench", "Load tests"], ["words", "Words"]].map(([id, title]) => el("li", {}, el("a", { href: `#${id}` }, title)))));
  draw("bench");
  byId("state").replaceChildren(`${values.bench.length} access methods under load`);
  byId("foot").replaceChildren("Made by lightbulb. This page loads nothing and sends nothing.");
};

const frozen = (all) => {
  Object.assign(values, all);
  useGlossary(values.glossary);
  build(false);
  for (const id of FILE_FIRST) draw(id);
  const held = values.transcripts;
  useSource({ plays: async () => held });
  const lines = held.episodes.map((one) => ({ episode_id: one.id, method: one.method, game: one.game, item: one.puzzle, ended: one.ended, score: one.score, turns: one.turns.length, finished_at: null }));
  const SHOWN = 300;
  listEpisodes = async (filter) => {
    const fitting = lines.filter((one) => Object.entries(filter).every(([name, wanted]) => !wanted || one[name] === wanted));
    const others = values.episodes_in_all - lines.length;
    return { rows: fitting.slice(0, SHOWN), note: `${count(Math.min(SHOWN, fitting.length))} of ${count(fitting.length)} transcripts in this page are listed` + (others > 0 ? `; the store holds ${count(others)} more: lightbulb show STORE ID` : "") + "." };
  };
  fillFilters({ method: unique(lines.map((one) => one.method)).sort(), game: unique(lines.map((one) => one.game)).sort(), ended: unique(lines.map((one) => one.ended)).sort() });
  showEpisodes();
  byId("state").replaceChildren(`${count(values.episodes_in_all)} episodes of ${values.calls.length} access methods`);
  byId("foot").replaceChildren("Made by lightbulb. ", ...about(values));
};

// --- live ---------------------------------------------------------------------------------------------------------------
const live = async () => {
  const token = new URLSearchParams(location.search).get("token") ?? "";
  const headers = { Authorization: `Bearer ${token}` };
  const ask = async (path, options = {}) => (await fetch(path, { ...options, headers: { ...headers, ...options.headers } })).json();
  const stores = await ask("/api/stores");
  values.live = true;
  values.glossary = stores.glossary;
  useGlossary(values.glossary);
  let chosen = Number(new URLSearchParams(location.hash.slice(1)).get("store") ?? 0);
  if (!(chosen in stores.stores)) chosen = 0;
  const path = (name, more = {}) => `/api/${name}?${new URLSearchParams({ store: chosen, ...more })}`;
  build(true);
  if (stores.stores.length > 1) folder(stores.stores, chosen, ask);
  byId("query").querySelector(".body").replaceChildren(...queryPart((query) => ask(path("sql"), { method: "POST", body: JSON.stringify({ query }), headers: { "Content-Type": "application/json" } })));
  useSource({ plays: (id) => ask(path("plays", { id })) });
  listEpisodes = async (filter) => {
    const answer = await ask(path("episodes", filter));
    fillFilters(answer.choices);
    return { rows: answer.rows, note: "The last 200 that ended, the latest first." };
  };
  const heard = new EventSource(path("events", { token }));
  let episodes = -1;
  heard.addEventListener("parts", (event) => {
    const parts = JSON.parse(event.data);
    Object.assign(values, parts);
    drawn = new Set(Object.keys(parts));
    for (const [id, , needs] of PARTS) if (needs.some((name) => drawn.has(name))) draw(id);
    if (parts.episodes_ended !== undefined && parts.episodes_ended !== episodes) {
      episodes = parts.episodes_ended;
      if (!inEpisodes()) showEpisodes({ unless: inEpisodes });
    }
    byId("state").replaceChildren(...stateLine(ask, path));
    byId("foot").replaceChildren("Made by lightbulb. This page speaks with this machine only.");
    document.body.dataset.ready = "true";
  });
  const ended = () => { byId("state").textContent = "the server of this page has ended; the figures no longer change"; };
  heard.addEventListener("error", ended);
  heard.addEventListener("end", () => { heard.close(); ended(); });
};

let stopping = false;
const stateLine = (ask, path) => {
  const { state, run, problem } = values;
  const words = { playing: "playing", ended: "no run holds this store", waiting: "waiting for the first run" }[state] ?? "";
  const time = run?.to_go_s !== null && run?.to_go_s !== undefined && state === "playing" ? ` · ${clock(run.to_go_s)} to go (${clock(run.to_go_low_s)} to ${clock(run.to_go_high_s)})` : "";
  const press = state === "playing" ? el("button", { type: "button", id: "stop", "data-key": "stop", disabled: stopping, on: { click: async () => {
    if (!confirm("Stop the run? It waits for the running calls. The same command continues it later.")) return;
    stopping = true;
    await ask(path("stop"), { method: "POST" });
  } } }, stopping ? "stopping" : "Stop the run") : null;
  const old = byId("stop");
  if (old && press && old === document.activeElement) setTimeout(() => byId("stop")?.focus({ preventScroll: true }));
  return [el("span", { class: `dot ${state}` }), ` ${words}${time} `, press, problem ? el("span", { class: "bad" }, ` ${problem}`) : null].filter(Boolean);
};

// --- several stores: their history, and two of them side by side ----------------------------------------------------------
const folder = (stores, chosen, ask) => {
  const place = section("stores", "Stores");
  byId("main").prepend(place);
  byId("nav").querySelector("ul").prepend(el("li", {}, el("a", { href: "#stores" }, "Stores")));
  const choose = (at) => { location.hash = `store=${at}`; location.reload(); };
  const pick = (id, at) => el("select", { id, "aria-label": id }, stores.map((one, number) => el("option", { value: number, selected: number === at }, one.name)));
  const compared = el("div");
  const compare = async () => {
    const both = await ask(`/api/compare?left=${byId("left-store").value}&right=${byId("right-store").value}`);
    if (both.error) return compared.replaceChildren(el("p", { class: "alarm" }, both.error));
    compared.replaceChildren(table({ id: "compared", label: "two stores", rows: both.rows, columns: [
      { key: "method", label: "method", value: (one) => one.method, cell: (one) => nameOf(one.method) },
      { key: "left", label: stores[byId("left-store").value].name, value: (one) => one.left, cell: (one) => number(one.left) },
      { key: "right", label: stores[byId("right-store").value].name, value: (one) => one.right, cell: (one) => number(one.right) },
      { key: "difference", label: "difference", value: (one) => (one.left === null || one.right === null ? null : one.right - one.left), cell: (one) => (one.left === null || one.right === null ? "–" : number(one.right - one.left)) },
    ] }));
  };
  place.querySelector(".body").append(
    table({ id: "store-list", label: "stores", rows: stores, columns: [
      { key: "name", label: "store", value: (one) => one.name, cell: (one) => (stores.indexOf(one) === chosen ? el("b", {}, nameOf(one.name, 50)) : el("a", { href: `#store=${stores.indexOf(one)}`, on: { click: (event) => { event.preventDefault(); choose(stores.indexOf(one)); } } }, nameOf(one.name, 50))) },
      { key: "sweep", label: "sweep", left: true, value: (one) => one.sweep },
      { key: "episodes", label: "episodes", value: (one) => one.episodes, cell: (one) => count(one.episodes) },
      { key: "at", label: "last run begun", value: (one) => one.at, cell: (one) => (one.at ? moment(one.at) : "–") },
    ] }),
    el("div", { class: "controls" }, el("label", {}, "compare", pick("left-store", 0)), el("label", {}, "with", pick("right-store", 1)), el("button", { type: "button", on: { click: compare } }, "Compare clemscores")), compared);
};

// --- start ------------------------------------------------------------------------------------------------------------------
showNotes();
const follow = () => {
  const asked = location.hash.match(/^#play=([0-9a-f]+)$/);
  if (asked) openEpisode(asked[1]);
};
addEventListener("hashchange", follow);
addEventListener("beforeprint", () => { for (const one of document.querySelectorAll("details")) one.open = true; });
if (byId("values")) {
  const held = JSON.parse(byId("values").textContent);
  if (held.only === "bench") frozenBench(held);
  else {
    frozen(held);
    follow();
  }
} else {
  live();
}
