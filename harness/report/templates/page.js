// Shows transcripts on demand, two of them side by side, and sorts tables. Text of models becomes text nodes, never markup.
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  let parsed = null;
  const data = () => (parsed ??= JSON.parse(byId("transcripts-data").textContent));
  const text = (place) => data().texts[place];

  const element = (tag, name, content) => {
    const node = document.createElement(tag);
    if (name) node.className = name;
    if (content !== undefined) node.textContent = content;
    return node;
  };
  const unique = (values) => [...new Set(values)];
  const ending = (one) => one.ended + (one.score === null ? "" : ` ${Math.round(one.score)}`);
  const play = (one) => `${one.method}${one.arm === "main" ? "" : " (" + one.arm + ")"}, repeat ${one.repeat + 1}: ${ending(one)}`;

  const fill = (select, options, wanted) => {
    select.replaceChildren(...options.map(([value, shown]) => {
      const option = element("option", "", shown);
      option.value = value;
      return option;
    }));
    if (options.some(([value]) => String(value) === String(wanted))) select.value = wanted;
  };

  // --- one message, whole or with the first differing character marked --------------------------------------------------------
  const LONG = 300;
  const words = (content, at) => {
    const pre = element("pre");
    if (at === null) {
      pre.textContent = content;
      return pre;
    }
    const letters = Array.from(content);
    pre.append(letters.slice(0, at).join(""), element("mark", "", at < letters.length ? letters[at] : "⏎ ends here"), letters.slice(at + 1).join(""));
    return pre;
  };
  const bubble = (piece, seats, at, owner = "") => {
    const box = element("div", piece.reply ? `bubble reply seat${seats.indexOf(piece.seat) % 4}` : "bubble");
    box.append(element("span", "speaker", (piece.reply ? piece.seat : `${piece.role === "system" ? "system" : "game"} to ${piece.seat}`) + owner));
    if (piece.content.length > LONG && at === null && !piece.reply) {
      const folded = element("details");
      folded.append(element("summary", "", `${piece.content.slice(0, 160).trim()} … (${piece.content.length} characters)`), words(piece.content, null));
      box.append(folded);
    } else {
      box.append(words(piece.content, at));
    }
    if (piece.reply) box.append(element("span", piece.violation ? "parse broken" : "parse", piece.violation ? `✗ ${piece.violation}` : "✓ format kept"));
    return box;
  };
  const pieces = (one) => one.turns.flatMap(([seat, asked, reply, violation]) => [
    ...asked.map(([role, place]) => ({ seat, role, content: text(place), reply: false })),
    { seat, content: text(reply), reply: true, violation },
  ]);
  const seatsOf = (...all) => unique(all.flatMap((one) => one.turns.map((turn) => turn[0])));

  // --- one transcript ---------------------------------------------------------------------------------------------------------
  const filters = ["method", "game", "ended"];
  const fitting = () => data().episodes.filter((one) => filters.every((name) => !byId(`by-${name}`).value || one[name] === byId(`by-${name}`).value));
  const list = (wanted) => {
    const chosen = fitting();
    fill(byId("episode"), chosen.map((one) => [one.id, `${one.game}, ${one.puzzle}, ${play(one)}`]), wanted);
    byId("matching").textContent = `${chosen.length} of ${data().episodes.length} transcripts in this page`;
    show();
  };
  const show = () => {
    const one = data().episodes.find((each) => each.id === byId("episode").value);
    const talk = byId("talk");
    talk.replaceChildren();
    if (!one) return;
    const seats = seatsOf(one);
    talk.append(...pieces(one).map((piece) => bubble(piece, seats, null)), element("p", "", `${ending(one)}: ${one.reason}`), element("p", "faint", `id ${one.id}`));
  };
  const step = (select, by) => {
    const place = select.selectedIndex + by;
    if (place < 0 || place >= select.options.length) return;
    select.selectedIndex = place;
    select.dispatchEvent(new Event("change"));
  };
  const openEpisode = (id) => {
    if (!data().episodes.some((one) => one.id === id)) return;
    start();
    for (const name of filters) byId(`by-${name}`).value = "";
    list(id);
    byId("transcripts").scrollIntoView();
    byId("talk").focus({ preventScroll: true });
  };

  // --- two transcripts of one item ------------------------------------------------------------------------------------------
  const group = (model, game) => {
    const items = new Map();
    for (const one of data().episodes) {
      if (one.model === model && one.game === game) items.set(one.item, [...(items.get(one.item) ?? []), one]);
    }
    return [...items].filter(([, plays]) => plays.length > 1);
  };
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
  const listGames = () => {
    const model = byId("pair-model").value;
    const games = unique(data().episodes.filter((one) => one.model === model).map((one) => one.game)).filter((game) => group(model, game).length);
    fill(byId("pair-game"), games.map((game) => [game, game]), byId("pair-game").value);
    listItems();
  };
  const listItems = () => {
    const items = group(byId("pair-model").value, byId("pair-game").value);
    const ends = (plays) => unique(plays.map((one) => one.ended)).join(", ");
    fill(byId("pair-item"), items.map(([item, plays]) => [item, `${plays[0].puzzle} (${ends(plays)})`]), byId("pair-item").value);
    listPlays();
  };
  const listPlays = () => {
    const chosen = group(byId("pair-model").value, byId("pair-game").value).find(([item]) => String(item) === byId("pair-item").value);
    const plays = chosen ? chosen[1] : [];
    const options = plays.map((one) => [one.id, play(one)]);
    const keep = (side) => plays.find((one) => one.method === byId(side).dataset.method && one.arm === "main")?.id;
    const left = keep("pair-left") ?? plays[0]?.id;
    const first = plays.find((one) => one.id === left);
    const right = keep("pair-right") ?? (plays.find((one) => one.method !== first?.method) ?? plays[1])?.id;
    fill(byId("pair-left"), options, left);
    fill(byId("pair-right"), options, right);
    compare();
  };
  const compare = () => {
    const [one, other] = ["pair-left", "pair-right"].map((side) => data().episodes.find((each) => each.id === byId(side).value));
    const pair = byId("pair");
    pair.replaceChildren();
    if (!one || !other) return;
    byId("pair-left").dataset.method = one.method;
    byId("pair-right").dataset.method = other.method;
    const [left, right, seats] = [pieces(one), pieces(other), seatsOf(one, other)];
    const first = difference(left, right);
    const where = first && (left[first.place] ?? right[first.place]);
    const equal = left.slice(0, first?.place).filter((piece) => piece.reply).length;
    byId("pair-summary").textContent = first
      ? `First difference: character ${first.at + 1} of ${where.reply ? "a reply of the " + where.seat : "a message to the " + where.seat}` +
        `, after ${equal} equal ${equal === 1 ? "reply" : "replies"}.`
      : "The two transcripts are equal.";
    pair.append(element("div", "head", play(one)), element("div", "head", play(other)));
    for (const piece of left.slice(0, first ? first.place : left.length)) {
      const box = bubble(piece, seats, null, ", both");
      box.className += " both";
      pair.append(box);
    }
    if (first) pair.append(element("div", "apart", "▼ different from here on"));
    for (let place = first ? first.place : Infinity; place < Math.max(left.length, right.length); place += 1) {
      for (const [side, all, episode] of [["", left, one], [" right", right, other]]) {
        const at = first.place === place ? first.at : null;
        const box = all[place] ? bubble(all[place], seats, at, ` · ${episode.method}, repeat ${episode.repeat + 1}`) : element("div", "faint", first.place === place ? "(has ended)" : "");
        box.className += side + (place > first.place ? " after" : "");
        pair.append(box);
      }
    }
    pair.append(element("p", "", `${ending(one)}: ${one.reason}`), element("p", "", `${ending(other)}: ${other.reason}`));
  };

  // --- transcripts are parsed when their part of the page comes near --------------------------------
  let started = false;
  const start = () => {
    if (started) return;
    started = true;
    for (const name of filters) {
      const values = unique(data().episodes.map((one) => one[name])).sort();
      fill(byId(`by-${name}`), [["", "all"], ...values.map((value) => [value, value])]);
      byId(`by-${name}`).addEventListener("change", () => list());
    }
    byId("episode").addEventListener("change", show);
    byId("before").addEventListener("click", () => step(byId("episode"), -1));
    byId("next").addEventListener("click", () => step(byId("episode"), 1));
    const models = unique(data().episodes.map((one) => one.model)).filter((model) =>
      unique(data().episodes.filter((one) => one.model === model).map((one) => one.game)).some((game) => group(model, game).length));
    fill(byId("pair-model"), models.map((model) => [model, model]));
    byId("pair-model").addEventListener("change", listGames);
    byId("pair-game").addEventListener("change", listItems);
    byId("pair-item").addEventListener("change", listPlays);
    for (const side of ["pair-left", "pair-right"]) byId(side).addEventListener("change", compare);
    byId("pair-before").addEventListener("click", () => step(byId("pair-item"), -1));
    byId("pair-next").addEventListener("click", () => step(byId("pair-item"), 1));
    list();
    listGames();
  };
  const follow = () => {
    const asked = location.hash.match(/^#play=([0-9a-f]+)$/);
    if (asked) openEpisode(asked[1]);
  };
  if (byId("transcripts-data")) {
    const near = new IntersectionObserver((entries) => { if (entries.some((entry) => entry.isIntersecting)) { near.disconnect(); start(); } }, { rootMargin: "400px" });
    near.observe(byId("transcripts"));
    near.observe(byId("apart"));
    addEventListener("hashchange", follow);
    addEventListener("beforeprint", start);
    follow();
  }

  // --- tables sort by the column whose header is pressed --------------------------------------------------------------------------
  for (const head of document.querySelectorAll("table.sortable th")) {
    const press = element("button", "", head.textContent.trim());
    press.type = "button";
    head.replaceChildren(press);
    press.addEventListener("click", () => {
      const rows = [...head.closest("table").tBodies[0].rows];
      const down = head.getAttribute("aria-sort") !== "descending";
      const value = (row) => row.cells[head.cellIndex].dataset.value ?? row.cells[head.cellIndex].textContent;
      const order = (a, b) => (isNaN(parseFloat(a)) || isNaN(parseFloat(b)) ? a.localeCompare(b) : parseFloat(a) - parseFloat(b));
      rows.sort((a, b) => (down ? -1 : 1) * order(value(a), value(b)));
      for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      head.closest("table").tBodies[0].append(...rows);
    });
  }
})();
