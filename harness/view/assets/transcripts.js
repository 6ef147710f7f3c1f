// Shows one transcript, or two plays of one item with their first difference marked.
import { byId, el, nameOf, table, timeOfDay, number, unique, count } from "./dom.js";

const LONG = 300; // characters of a prompt that is folded
const ending = (one) => one.ended + (one.score === null ? "" : ` ${Math.round(one.score)}`);
const play = (one) => `${one.method}${one.arm === "main" ? "" : ` (${one.arm})`}, repeat ${one.repeat + 1}: ${ending(one)}`;

// A source gives {texts, episodes} that hold an episode and the other plays of its item.
let source = null;
let known = { texts: [], episodes: [] };
export const useSource = (given) => { source = given; };

const words = (content, at) => {
  const pre = el("pre");
  if (at === null) {
    pre.textContent = content;
    return pre;
  }
  const letters = Array.from(content);
  pre.append(letters.slice(0, at).join(""), el("mark", {}, at < letters.length ? letters[at] : "⏎ ends here"), letters.slice(at + 1).join(""));
  return pre;
};
const bubble = (piece, seats, at, owner = "") => {
  const box = el("div", { class: piece.reply ? `bubble reply seat${seats.indexOf(piece.seat) % 4}` : "bubble" },
    el("span", { class: "speaker" }, (piece.reply ? piece.seat : `${piece.role === "system" ? "system" : "game"} to ${piece.seat}`) + owner));
  if (piece.content.length > LONG && at === null && !piece.reply) {
    box.append(el("details", {}, el("summary", {}, `${piece.content.slice(0, 160).trim()} … (${piece.content.length} characters)`), words(piece.content, null)));
  } else {
    box.append(words(piece.content, at));
  }
  if (piece.reply) box.append(el("span", { class: piece.violation ? "parse broken" : "parse" }, piece.violation ? `✗ ${piece.violation}` : "✓ format kept"));
  return box;
};
const pieces = (one) => one.turns.flatMap(([seat, asked, reply, violation]) => [
  ...asked.map(([role, place]) => ({ seat, role, content: known.texts[place], reply: false })),
  { seat, content: known.texts[reply], reply: true, violation },
]);
const seatsOf = (...all) => unique(all.flatMap((one) => one.turns.map((turn) => turn[0])));
const difference = (left, right) => {
  for (let place = 0; place < Math.max(left.length, right.length); place += 1) {
    const [a, b] = [left[place], right[place]];
    if (!a || !b) return { place, at: 0 };
    if (a.seat === b.seat && a.reply === b.reply && a.content === b.content) continue;
    const [x, y] = [Array.from(a.content), Array.from(b.content)];
    let at = 0;
    while (at < Math.min(x.length, y.length) && x[at] === y[at]) at += 1;
    return { place, at };
  }
  return null;
};

const drawOne = (one) => {
  const seats = seatsOf(one);
  byId("talk").replaceChildren(
    el("h3", {}, nameOf(one.method, 50), ` · ${one.game}, ${one.puzzle}`),
    ...pieces(one).map((piece) => bubble(piece, seats, null)),
    el("p", {}, `${ending(one)}: ${one.reason}`), el("p", { class: "faint" }, `id ${one.id}`));
};

const drawPair = (one, other) => {
  const pair = byId("pair");
  const [left, right, seats] = [pieces(one), pieces(other), seatsOf(one, other)];
  const first = difference(left, right);
  const where = first && (left[first.place] ?? right[first.place]);
  const equal = left.slice(0, first?.place).filter((piece) => piece.reply).length;
  byId("pair-summary").textContent = first
    ? `First difference: character ${first.at + 1} of ${where.reply ? `a reply of the ${where.seat}` : `a message to the ${where.seat}`}, after ${equal} equal ${equal === 1 ? "reply" : "replies"}.`
    : "The two transcripts are equal.";
  pair.replaceChildren(el("div", { class: "head" }, play(one)), el("div", { class: "head" }, play(other)));
  for (const piece of left.slice(0, first ? first.place : left.length)) {
    const box = bubble(piece, seats, null, ", both");
    box.className += " both";
    pair.append(box);
  }
  if (first) pair.append(el("div", { class: "apart" }, "▼ different from here on"));
  for (let place = first ? first.place : Infinity; place < Math.max(left.length, right.length); place += 1) {
    for (const [side, all, episode] of [["", left, one], [" right", right, other]]) {
      const at = first.place === place ? first.at : null;
      const box = all[place] ? bubble(all[place], seats, at, ` · ${episode.method}, repeat ${episode.repeat + 1}`) : el("div", { class: "faint" }, first.place === place ? "(has ended)" : "");
      box.className += side + (place > first.place ? " after" : "");
      pair.append(box);
    }
  }
  pair.append(el("p", {}, `${ending(one)}: ${one.reason}`), el("p", {}, `${ending(other)}: ${other.reason}`));
};

const options = (select, episodes, wanted) => {
  select.replaceChildren(...episodes.map((one) => el("option", { value: one.id }, play(one))));
  select.value = wanted;
};

// Shows an episode, and beside it another play of its item by another method.
export const openEpisode = async (id, { focus = true } = {}) => {
  known = await source.plays(id);
  const one = known.episodes.find((each) => each.id === id);
  if (!one) return;
  drawOne(one);
  const beside = known.episodes.filter((each) => each.item === one.item && each.model === one.model);
  const other = beside.find((each) => each.method !== one.method && each.repeat === one.repeat) ?? beside.find((each) => each.id !== one.id);
  byId("apart").hidden = !other;
  if (other) {
    options(byId("pair-left"), beside, one.id);
    options(byId("pair-right"), beside, other.id);
    drawPair(one, other);
  }
  if (focus) {
    byId("transcript").scrollIntoView();
    byId("talk").focus({ preventScroll: true });
  }
};

export const transcriptPart = () => {
  const chosen = (id) => known.episodes.find((one) => one.id === byId(id).value);
  const compare = () => drawPair(chosen("pair-left"), chosen("pair-right"));
  return [
    el("section", { id: "transcript", tabindex: "-1" }, el("h2", {}, "Transcript"),
      el("div", { id: "talk", class: "talk", tabindex: "-1" }, el("p", { class: "faint" }, "Choose an episode above."))),
    el("section", { id: "apart", hidden: true }, el("h2", {}, "First difference"),
      el("p", { class: "faint" }, "Two episodes of one item. Choose two access methods, or two repeats of one method. The first character that differs is marked. The text after it is pale, because the prompts differ from there on."),
      el("div", { class: "controls" },
        el("label", {}, "left", el("select", { id: "pair-left", on: { change: compare } })),
        el("label", {}, "right", el("select", { id: "pair-right", on: { change: compare } }))),
      el("p", { id: "pair-summary", role: "status" }), el("div", { id: "pair", class: "pair", tabindex: "-1" })),
  ];
};

// The list of episodes: filters, and a row for each with a link to its transcript.
export const episodeFilter = { method: "", game: "", ended: "" };
const ROWS = 25;
let rowsShown = ROWS;
export const episodeTable = (rows, note, redrawn) => [
  table({ id: "episode-list", label: "episodes", rows: rows.slice(0, rowsShown), columns: [
    { key: "method", label: "method", value: (one) => one.method, cell: (one) => nameOf(one.method) },
    { key: "game", label: "game", left: true, value: (one) => one.game },
    { key: "item", label: "item", left: true, value: (one) => one.item, cell: (one) => nameOf(one.item, 26) },
    { key: "ended", label: "outcome", left: true, value: (one) => one.ended, cellClass: (one) => (one.ended === "failed" || one.ended === "aborted" ? "bad" : "") },
    { key: "score", label: "score", value: (one) => one.score, cell: (one) => number(one.score) },
    { key: "turns", label: "turns", value: (one) => one.turns, cell: (one) => count(one.turns) },
    { key: "at", label: "time of the end", value: (one) => one.finished_at, cell: (one) => (one.finished_at ? timeOfDay(one.finished_at) : "") },
    { key: "open", label: "transcript", left: true, cell: (one) => el("a", { href: `#play=${one.episode_id}`, "data-key": `play:${one.episode_id}`, on: { click: (event) => { event.preventDefault(); openEpisode(one.episode_id); } } }, "open") },
  ] }),
  rows.length > rowsShown ? el("button", { type: "button", "data-key": "more-episodes", on: { click: () => { rowsShown += 100; redrawn(); } } }, `Show more of ${count(rows.length)}`) : null,
  note ? el("p", { class: "faint" }, note) : null,
];
