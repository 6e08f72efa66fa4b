// The charts, each drawn by Observable Plot from the table of a figure (figures.py).

const OURS = { name: "ours", colour: "#2f6fb6" };
const PAPER = { name: "published", colour: "#e17800", symbol: "diamond", hollow: true };

// Ours and the published number of each method, a panel per column of the table.
function groups(figure, width) {
  const points = figure.rows.flatMap(([column, method, ...cells]) =>
    [[OURS, 0], [PAPER, 2]].filter(([, i]) => cells[i] !== null).map(([who, i]) => {
      const [value, sd] = [cells[i], cells[i + 1]];
      const spread = sd === null ? "" : ` ± ${shown(sd)}`;
      const says = `${method}\n${column}, ${who.name}: ${shown(value)} %${spread}`;
      return { column, method, value, low: value - (sd ?? 0), high: value + (sd ?? 0), who, says };
    }));
  const columns = unique(figure.rows.map((row) => row[0]));
  const methods = unique(points.map((p) => p.method));
  const apart = width < 860 ? 1 : 2;
  const each = Math.floor((width - 24 * (apart - 1)) / apart);
  const { pixels, lines, row } = gutter(methods, each);
  const domain = d3.extent(points.flatMap((p) => [p.low, p.high]));
  const panels = columns.filter((c) => points.some((p) => p.column === c)).map((column) => {
    const own = points.filter((p) => p.column === column);
    const dots = (who, more) => Plot.dot(own.filter((p) => p.who === who),
      { x: "value", y: "method", r: 4.5, stroke: who.colour, ...more });
    return el("div", {}, el("p", { class: "panel" }, column), plot(each, {
      marginLeft: pixels, height: 60 + row * methods.length,
      x: { domain, nice: true, label: "%" },
      y: { type: "point", domain: methods, label: null, padding: 0.5 },
      marks: [
        Plot.axisY({ tickFormat: (m) => lines.get(m), tickSize: 0, color: "var(--ink)" }),
        Plot.gridY({ strokeOpacity: 0.06 }),
        Plot.ruleY(own, { x1: "low", x2: "high", y: "method", stroke: (p) => p.who.colour, strokeWidth: 1.5 }),
        dots(PAPER, { fill: "var(--ground)", symbol: "diamond", strokeWidth: 1.5 }),
        dots(OURS, { fill: OURS.colour }),
        hints(own, { x: "value", y: "method" }),
      ],
    }));
  });
  const people = [OURS, PAPER].filter((who) => points.some((p) => p.who === who));
  return [legend(people), el("div", { class: "panels" }, ...panels)];
}

// Two columns against each other; colour and symbol tell the method, hollow the published ones.
function plane(figure, width) {
  const { x, y, colours, symbols } = figure.drawn;
  const points = figure.rows.flatMap(([method, ...cells], i) => [0, 4].flatMap((at) => {
    const [a, sdA, b, sdB] = cells.slice(at, at + 4);
    if (a === null || b === null) return [];
    const says = `${method}, ${at ? "published" : "ours"}\n${x.replace(", %", "")} ${shown(a)} %, ${y.replace(", %", "")} ${shown(b)} %`;
    return [{ method, a, b, sdA: sdA ?? 0, sdB: sdB ?? 0, hollow: at > 0, colour: colours[i], symbol: symbols[i], says }];
  }));
  const chart = plot(width, {
    height: Math.min(520, Math.max(320, width * 0.6)),
    x: { label: x, nice: true }, y: { label: y, nice: true, grid: true },
    marks: [
      Plot.ruleY(points, { x1: (p) => p.a - p.sdA, x2: (p) => p.a + p.sdA, y: "b", stroke: "colour", strokeOpacity: 0.5 }),
      Plot.ruleX(points, { y1: (p) => p.b - p.sdB, y2: (p) => p.b + p.sdB, x: "a", stroke: "colour", strokeOpacity: 0.5 }),
      Plot.dot(points, { x: "a", y: "b", r: 5, stroke: "colour", symbol: "symbol", fill: (p) => p.hollow ? "transparent" : p.colour }),
      hints(points, { x: "a", y: "b" }),
    ],
  });
  const entries = figure.rows.map(([name], i) => ({ name, colour: colours[i], symbol: symbols[i] }))
    .filter(({ name }) => points.some((p) => p.method === name));
  const note = points.some((p) => p.hollow) ? [el("p", { class: "legend" }, "Filled: ours; hollow: published.")] : [];
  return [...note, chart, legend(entries)];
}

// Accuracy by class size: dots per class and a line per chosen method.
function sizes(figure, width, redraw) {
  const { methods, shown: chosen, colours, dashes, lines, dots } = figure.drawn;
  const indices = methods.map((_, i) => i).filter((i) => chosen[i]);
  const points = dots ? indices.flatMap((i) => figure.rows.map((row) => ({
    i, size: row[1], value: row[i + 2], colour: colours[i],
    says: `${row[0]}, ${shown(row[1])} images\n${methods[i]}: ${shown(row[i + 2])} %`,
  }))) : [];
  const curves = indices.flatMap((i) => lines[i].map(([size, value]) => ({
    i, size, value, colour: colours[i], says: `${methods[i]}\nabout ${shown(size)} images: ${shown(value)} %`,
  })));
  const range = d3.extent(figure.rows, (row) => row[1]);
  const decades = [0, 1, 2, 3, 4, 5].flatMap((k) => [1, 2, 5].map((n) => n * 10 ** k));
  const chart = plot(width, {
    height: 360,
    x: { type: "log", label: "training images of the class", domain: range, ticks: decades.filter((n) => n >= range[0] && n <= range[1]), tickFormat: (n) => n.toLocaleString("en") },
    y: { label: "accuracy of the class, %", grid: true, zero: true, nice: true },
    marks: [
      Plot.dot(points, { x: "size", y: "value", r: 2.5, fill: "colour", fillOpacity: 0.4 }),
      ...indices.map((i) => Plot.line(curves.filter((p) => p.i === i),
        { x: "size", y: "value", stroke: colours[i], strokeWidth: 2, strokeDasharray: dashes[i] })),
      Plot.dot(curves, { x: "size", y: "value", r: 3, fill: "colour" }),
      hints(points.length ? [...curves, ...points] : curves, { x: "size", y: "value" }),
    ],
  });
  const choice = el("div", { class: "key", role: "group", "aria-label": "Methods shown" },
    ...methods.map((name, i) => {
      const button = el("button", { type: "button", "aria-pressed": String(chosen[i]) },
        swatch({ colour: colours[i], dash: dashes[i] }), name);
      button.addEventListener("click", () => {
        chosen[i] = !chosen[i];
        redraw();
        document.querySelectorAll(`[id="${figure.id}"] button`)[i].focus();
      });
      return button;
    }));
  return [choice, chart];
}

// The distribution of scores at each guidance level, mirrored, with quartiles and median.
function violins(figure, width) {
  const { edges, levels, threshold, unit } = figure.drawn;
  const first = figure.columns.indexOf("Lower quartile");
  const bars = levels.flatMap(({ colour, heights }, i) => {
    const most = Math.max(...heights, 1);
    return heights.map((n, k) => ({ low: i - 0.42 * n / most, high: i + 0.42 * n / most, y1: edges[k], y2: edges[k + 1], colour }))
      .filter((bar) => bar.high > bar.low);
  });
  const boxes = figure.rows.map((row, i) => ({
    i, low: row[first], middle: row[first + 1], high: row[first + 2],
    says: `guidance ${row[0]}: ${shown(row[1])} images\nmedian ${shown(row[first + 1])}, quartiles ${shown(row[first])} and ${shown(row[first + 2])}`,
  })).filter((box) => box.middle !== null);
  const names = figure.rows.map((row) => wrapped(row[0], Math.max(5, Math.floor((width - 60) / levels.length / GLYPH))));
  return [plot(width, {
    height: 330, marginBottom: 54,
    x: { domain: [-0.5, levels.length - 0.5], ticks: d3.range(levels.length), tickFormat: (i) => names[i] ?? "", label: "guidance", grid: false },
    y: { label: unit, grid: true, nice: true },
    marks: [
      Plot.rect(bars, { x1: "low", x2: "high", y1: "y1", y2: "y2", fill: "colour", fillOpacity: 0.55 }),
      Plot.ruleX(boxes, { x: "i", y1: "low", y2: "high", stroke: "var(--ink)", strokeWidth: 3 }),
      Plot.dot(boxes, { x: "i", y: "middle", r: 4, fill: "var(--ground)", stroke: "var(--ink)", strokeWidth: 1.5 }),
      ...threshold === null ? [] : [Plot.ruleY([threshold], { stroke: "var(--bad)", strokeWidth: 1.5, strokeDasharray: "6,4" })],
      hints(boxes, { x: "i", y: "middle" }),
    ],
  })];
}

// Which guidance a run used in each epoch, a strip per method and seeds.
function strips(figure, width) {
  const { rows: names, places, levels } = figure.drawn;
  const colours = new Map(levels.map(({ name, colour }) => [name, colour]));
  const bars = figure.rows.map(([method, seeds, from, to, level], i) => {
    const [strip, part, of] = places[i];
    const top = strip - 0.36 + 0.72 * part / of;
    const says = `${method}, seeds ${seeds}\nepochs ${from} to ${to}: guidance ${level}`;
    return { x1: from - 1, x2: to, y1: top, y2: top + 0.72 / of, colour: colours.get(level), says };
  });
  const { pixels, lines, row } = gutter(names, width);
  const chart = plot(width, {
    marginLeft: pixels, height: 60 + row * names.length,
    x: { label: "epochs" },
    y: { domain: [-0.5, names.length - 0.5], reverse: true, label: null, ticks: d3.range(names.length) },
    marks: [
      Plot.axisY({ ticks: d3.range(names.length), tickFormat: (i) => lines.get(names[i]), tickSize: 0, color: "var(--ink)", label: null }),
      Plot.rect(bars, { x1: "x1", x2: "x2", y1: "y1", y2: "y2", fill: "colour" }),
      hints(bars, { x: (b) => (b.x1 + b.x2) / 2, y: (b) => (b.y1 + b.y2) / 2 }),
    ],
  });
  return [legend(levels.map(({ name, colour }) => ({ name: `guidance ${name}`, colour, square: true }))), chart];
}

// Lines over a number: ours solid, published ones dashed with hollow dots.
function lines(figure, width) {
  const { x, y, series, ticks, zero = false } = figure.drawn;
  const styles = new Map(series.map((s) => [s.name, s]));
  const points = figure.rows.map(([who, at, value, sd]) => ({
    who, at, value, low: value - (sd ?? 0), high: value + (sd ?? 0), ...styles.get(who),
    says: `${who}\n${x} ${shown(at)}: ${shown(value)}${sd === null ? "" : ` ± ${shown(sd)}`}`,
  }));
  const known = points.filter((p) => p.at !== null);
  const across = points.filter((p) => p.at === null);
  const at = ticks ?? unique(known.map((p) => p.at)).sort((a, b) => a - b);
  const close = d3.min(d3.pairs(at), ([a, b]) => b - a) / (at.at(-1) - at[0]) * (width - 80) < 34;
  const chart = plot(width, {
    height: 320,
    x: { label: x, nice: true, ...close ? {} : { ticks: at }, tickFormat: (v) => String(v) },
    y: { label: y, grid: true, nice: true, zero },
    marks: [
      ...series.map((s) => Plot.line(known.filter((p) => p.who === s.name),
        { x: "at", y: "value", stroke: s.colour, strokeWidth: 2, strokeDasharray: s.hollow ? "6,4" : "none" })),
      Plot.ruleX(known, { x: "at", y1: "low", y2: "high", stroke: "colour" }),
      Plot.ruleY(across, { y: "value", stroke: "colour", strokeDasharray: "2,4" }),
      Plot.dot(known, { x: "at", y: "value", r: 4.5, symbol: "symbol", stroke: "colour", fill: (p) => p.hollow ? "var(--ground)" : p.colour }),
      hints(known, { x: "at", y: "value" }),
    ],
  });
  return [legend(series), chart];
}

// One number per row; dots instead of bars where the axis is logarithmic.
function bars(figure, width) {
  const { x, log, colour } = figure.drawn;
  const data = figure.rows.map(([name, value]) => ({ name, value, text: shown(Number(value.toPrecision(3))) }));
  const { pixels, lines: labels, row } = gutter(data.map((d) => d.name), width);
  return [plot(width, {
    marginLeft: pixels, marginRight: 64, height: 60 + row * data.length,
    x: { label: x, ...log ? { type: "log", nice: true, ticks: 4 } : { zero: true } },
    y: { type: "band", domain: data.map((d) => d.name), label: null, padding: 0.25 },
    marks: [
      Plot.axisY({ tickFormat: (d) => labels.get(d), tickSize: 0, color: "var(--ink)", label: null }),
      log ? Plot.dot(data, { x: "value", y: "name", r: 5, fill: colour })
        : Plot.barX(data, { x: "value", y: "name", fill: colour }),
      Plot.text(data, { x: "value", y: "name", text: "text", textAnchor: "start", dx: 9, fill: "var(--ink)" }),
    ],
  })];
}

// Differences with their intervals, by claim.
function intervals(figure, width) {
  const { labels, heads, series } = figure.drawn;
  const pixels = width < PHONE ? 150 : 300;
  const rows = [];
  const place = new Map(); // of each line of the chart
  let y = 0;
  let last = null;
  figure.rows.forEach(([, difference, where], i) => {
    const key = `${difference}|${where}`;
    if (place.has(key)) return;
    if (heads[i] !== last) {
      if (last) y += 5;
      rows.push({ head: heads[i], y: y + 9 });
      y += 19;
      last = heads[i];
    }
    const text = wrapped(labels[i], Math.floor((pixels - 8) / 5.7));
    const tall = 13 * text.split("\n").length + 5;
    rows.push({ label: text, y: y + tall / 2 });
    place.set(key, { y: y + tall / 2, columns: [] });
    y += tall;
  });
  figure.rows.forEach(([, difference, where, column]) => place.get(`${difference}|${where}`).columns.push(column));
  figure.rows.forEach(([, difference, where, column, value, low, high, p]) => {
    const line = place.get(`${difference}|${where}`);
    const k = series.findIndex((s) => s.name === column);
    const spread = (line.columns.indexOf(column) - (line.columns.length - 1) / 2) * 7;
    const interval = `${shown(low)} to ${shown(high)}`;
    rows.push({
      value, low, high, colour: series[k].colour, y: line.y + spread,
      says: `${difference}\n${where}, ${column}: ${shown(value)} (${interval})${p === null ? "" : `, p ${p < 0.001 ? "< 0.001" : p.toFixed(3)}`}`,
    });
  });
  const data = rows.filter((r) => "value" in r);
  const text = { x: 0, y: "y", frameAnchor: "left", textAnchor: "start", dx: -pixels, fontSize: 11, fill: "var(--ink)" };
  const words = (name, more) => Plot.text(rows.filter((r) => name in r),
    { ...text, x: undefined, text: name, ...more });
  const chart = plot(width, {
    marginLeft: pixels, marginTop: 2, marginBottom: 22, height: y + 26,
    x: { label: null, nice: true, zero: true },
    y: { domain: [y, 0], axis: null },
    marks: [
      Plot.ruleX([0], { stroke: "var(--ink)", strokeDasharray: "3,3" }),
      words("head", { fontWeight: 600, stroke: "var(--ground)", strokeWidth: 5 }), words("label", {}),
      Plot.ruleY(data, { x1: "low", x2: "high", y: "y", stroke: "colour", strokeWidth: 2 }),
      Plot.dot(data, { x: "value", y: "y", r: 3.2, fill: "colour" }),
      hints(data, { x: "value", y: "y" }),
    ],
  });
  return [legend(series), chart];
}

const KINDS = { groups, plane, sizes, violins, strips, lines, bars, intervals };
