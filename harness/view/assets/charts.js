// Charts as SVG. Shapes stretch with the page; words stand beside them as text, so that they keep their size.
import { clock, count, el, middleCut, shape, timeOfDay } from "./dom.js";

const BOX = { viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" };

export const axisAround = (values) => {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const room = (high - low) * 0.06 || 1;
  const [from, to] = [low - room, high + room];
  return { low: from, high: to, at: (value) => (100 * (Math.min(Math.max(value, from), to) - from)) / (to - from) };
};
export const HUNDRED = { low: 0, high: 100, at: (value) => Math.min(100, Math.max(0, value)) };

// A value with its interval in a row of a table; the band is the margin around zero.
export const interval = (axis, { value, low, high }, margin = null) =>
  shape("svg", { class: "row", ...BOX },
    margin === null ? null : [
      shape("rect", { class: "band", x: axis.at(-margin), y: 0, width: axis.at(margin) - axis.at(-margin), height: 100 }),
      shape("line", { class: "zero", x1: axis.at(0), x2: axis.at(0), y1: 0, y2: 100 }),
    ],
    low === null || low === undefined ? null : shape("line", { class: "span", x1: axis.at(low), x2: axis.at(high), y1: 50, y2: 50 }),
    value === null || value === undefined ? null : shape("line", { class: "at", x1: axis.at(value), x2: axis.at(value), y1: 20, y2: 80 }));

// Calls by latency, over one logarithmic axis for all methods; ticks are quantiles.
export const histogram = (bins, [first, last], ticks, binsADecade) => {
  const highest = Math.max(...bins.map(([, calls]) => calls));
  const width = 100 / (last - first);
  return shape("svg", { class: "row", ...BOX },
    bins.map(([place, calls]) => {
      const height = (96 * calls) / highest;
      return shape("rect", { class: "bar", x: (place - first) * width, y: 100 - height, width: width * 0.92, height });
    }),
    ticks.filter((tick) => tick).map((tick) => {
      const x = (Math.log10(tick) * binsADecade - first) * width;
      return shape("line", { class: "tick", x1: x, x2: x, y1: 0, y2: 100 });
    }));
};

const nice = (value) => {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 2.5, 5, 10].map((step) => step * power).find((step) => step >= value);
};

// Lines over time. series: {name, values}; a null is a gap. limits: {name, value}. marks: {at, text, kind}.
export const timeLines = ({ title, note, from, step, series: given, limits = [], marks = [], format = count, goesOn = false }) => {
  // While a sweep runs, the last slot is not over.
  const series = goesOn && given[0].values.length > 2 ? given.map((one) => ({ ...one, values: one.values.slice(0, -1) })) : given;
  const values = series.flatMap((one) => one.values).filter((value) => value !== null && value !== undefined);
  if (!values.length) return null;
  const top = nice(Math.max(1e-9, ...values, ...limits.map((one) => one.value)));
  const slots = Math.max(1, Math.max(...series.map((one) => one.values.length)) - 1);
  const x = (slot) => (100 * slot) / slots;
  const y = (value) => 100 - (100 * Math.min(value, top)) / top;
  const path = (one) => {
    let pen = "M";
    return one.values.map((value, slot) => {
      if (value === null || value === undefined) { pen = "M"; return ""; }
      const piece = `${pen}${x(slot).toFixed(2)} ${y(value).toFixed(2)}`;
      pen = "L";
      return piece;
    }).join("");
  };
  const shown = marks.filter((one) => one.at >= from && one.at <= from + (slots + 1) * step);
  const last = (one) => one.values.findLast((value) => value !== null && value !== undefined);
  const drawing = shape("svg", { class: "lines", viewBox: "0 0 100 100", preserveAspectRatio: "none", role: "img",
    "aria-label": `${title}: ${series.map((one) => `${one.name} at last ${format(last(one) ?? 0)}`).join(", ")}` },
    [25, 50, 75].map((place) => shape("line", { class: "grid", x1: 0, x2: 100, y1: place, y2: place })),
    shown.map((one) => shape("line", { class: `mark ${one.kind}`, x1: x((one.at - from) / step), x2: x((one.at - from) / step), y1: 0, y2: 100 }, shape("title", {}, one.text))),
    limits.map((one) => shape("line", { class: "limit", x1: 0, x2: 100, y1: y(one.value), y2: y(one.value) })),
    series.map((one, place) => shape("path", { class: `line line${place % 6}`, d: path(one) })));
  const key = [
    ...series.map((one, place) => el("li", {}, el("span", { class: `key line${place % 6}` }), middleCut(one.name, 30), " ", el("b", {}, format(last(one) ?? null)))),
    ...limits.map((one) => el("li", {}, el("span", { class: "key limit" }), one.name, " ", el("b", {}, format(one.value)))),
    shown.length ? el("li", {}, el("span", { class: "key mark" }), `${shown.length} gate events`) : null,
  ];
  return el("figure", { class: "chart" },
    el("figcaption", {}, el("b", {}, title), note ? ` ${note}` : ""),
    el("div", { class: "plot" }, el("span", { class: "top" }, format(top)), drawing, el("span", { class: "zero" }, "0")),
    el("div", { class: "times" }, el("span", {}, timeOfDay(from)), el("span", {}, clock(slots * step)), el("span", {}, timeOfDay(from + slots * step))),
    el("ul", { class: "legend" }, key));
};

// Lines over levels that are not evenly spaced: each level has the same room, and its name below.
export const levelLines = ({ title, note, levels, series: given, format = count }) => {
  const series = given.filter((one) => one.values.some((value) => value !== null));
  const values = series.flatMap((one) => one.values).filter((value) => value !== null);
  if (!values.length || levels.length < 2) return null;
  const top = nice(Math.max(1e-9, ...values));
  const x = (at) => (100 * at) / (levels.length - 1);
  const y = (value) => 100 - (100 * value) / top;
  const path = (one) => {
    let pen = "M";
    return one.values.map((value, at) => {
      if (value === null) { pen = "M"; return ""; }
      const piece = `${pen}${x(at).toFixed(2)} ${y(value).toFixed(2)}`;
      pen = "L";
      return piece;
    }).join("");
  };
  const last = (one) => one.values.findLast((value) => value !== null);
  const every = Math.ceil(levels.length / 8); // more names do not fit side by side
  return el("figure", { class: "chart" },
    el("figcaption", {}, el("b", {}, title), note ? ` ${note}` : ""),
    el("div", { class: "plot" }, el("span", { class: "top" }, format(top)),
      shape("svg", { class: "lines", viewBox: "0 0 100 100", preserveAspectRatio: "none", role: "img",
        "aria-label": `${title}: ${series.map((one) => `${one.name} at last ${format(last(one))}`).join(", ")}` },
        [25, 50, 75].map((place) => shape("line", { class: "grid", x1: 0, x2: 100, y1: place, y2: place })),
        series.map((one, place) => shape("path", { class: `line line${place % 6}`, d: path(one) }))),
      el("span", { class: "zero" }, "0")),
    el("div", { class: "times" }, levels.filter((_, at) => at % every === 0 || at === levels.length - 1).map((level) => el("span", {}, `${level}`))),
    el("ul", { class: "legend" }, series.map((one, place) => el("li", {}, el("span", { class: `key line${place % 6}` }), one.name, " ", el("b", {}, format(last(one)))))));
};

// Points and lines over two axes: for the answer of a query, and curves.
export const xyLines = ({ title, note, points, series, xLabel, yLabel, step = false, yTop = null }) => {
  const all = series.flatMap((one) => one.points);
  if (all.length < 2) return null;
  const xs = axisAround(all.map(([a]) => a));
  const ys = yTop === null ? axisAround(all.map(([, b]) => b)) : { low: 0, high: yTop, at: (value) => (100 * value) / yTop };
  const place = ([a, b]) => [xs.at(a), 100 - ys.at(b)];
  const path = (one) => one.points.map((point, at) => {
    const [x, y] = place(point);
    if (!at) return `M${x} ${y}`;
    return step ? `H${x}V${y}` : `L${x} ${y}`;
  }).join("");
  return el("figure", { class: "chart" },
    el("figcaption", {}, el("b", {}, title), note ? ` ${note}` : ""),
    el("div", { class: "plot" }, el("span", { class: "top" }, yLabel(ys.high)),
      shape("svg", { class: "lines", viewBox: "0 0 100 100", preserveAspectRatio: "none", role: "img", "aria-label": title },
        [25, 50, 75].map((at) => shape("line", { class: "grid", x1: 0, x2: 100, y1: at, y2: at })),
        points
          ? all.map((point) => { const [x, y] = place(point); return shape("line", { class: "dot", x1: x, x2: x, y1: y, y2: y }); })
          : series.map((one, at) => shape("path", { class: `line line${at % 6}`, d: path(one) }))),
      el("span", { class: "zero" }, yLabel(ys.low))),
    el("div", { class: "times" }, el("span", {}, xLabel(xs.low)), el("span", {}, xLabel(xs.high))),
    series.length > 1 ? el("ul", { class: "legend" }, series.map((one, at) => el("li", {}, el("span", { class: `key line${at % 6}` }), one.name))) : null);
};
