// What the page does: draws charts when they are seen, folds, sorts tables, follows the reader.

const whenSeen = (node, act) => {
  const observer = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    act();
  }, { rootMargin: "600px" });
  observer.observe(node);
};

// ---------------------------------------------------------------- charts

const figures = stored("figures");

function draw(node) {
  const figure = { id: node.id, ...figures[node.dataset.figure] };
  const width = Math.floor(node.clientWidth);
  if (!width) return;
  node.dataset.drawn = String(width);
  node.replaceChildren(...KINDS[figure.kind](figure, width, () => draw(node)));
}

const plots = [...document.querySelectorAll("[data-figure]")];
const resized = new ResizeObserver((entries) => entries.forEach(({ target }) => {
  const width = Math.floor(target.clientWidth);
  if (width && target.dataset.drawn && Number(target.dataset.drawn) !== width) draw(target);
}));
plots.forEach((node) => whenSeen(node, () => {
  draw(node);
  resized.observe(node);
}));

// The table behind a chart.
function tableOf(figure) {
  const head = el("tr", {}, ...figure.columns.map((c, i) => el("th", { scope: "col", class: i ? null : "first" }, c)));
  const lines = figure.rows.map((row) => el("tr", {}, ...row.map((value, i) =>
    el(i ? "td" : "th", { scope: i ? null : "row" }, shown(value)))));
  return el("table", {}, el("thead", {}, head), el("tbody", {}, ...lines));
}

document.querySelectorAll("details.data").forEach((node) => {
  node.addEventListener("toggle", () => {
    const place = node.querySelector(".scroll");
    if (node.open && !place.firstChild) place.append(tableOf(figures[place.dataset.table]));
  });
});

// ---------------------------------------------------------------- folding

function unfold(id) {
  const node = id && document.getElementById(id);
  for (let at = node; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
  const inner = node?.querySelector(":scope > details");
  if (inner) inner.open = true;
  return node;
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='#']");
  if (link) unfold(link.getAttribute("href").slice(1));
});
addEventListener("hashchange", () => unfold(location.hash.slice(1))?.scrollIntoView());
if (location.hash) unfold(location.hash.slice(1))?.scrollIntoView();

const everything = document.querySelector("button.unfold");
everything.addEventListener("click", () => {
  const open = everything.getAttribute("aria-expanded") !== "true";
  everything.setAttribute("aria-expanded", String(open));
  everything.textContent = open ? "Fold all sections" : "Unfold all sections";
  document.querySelectorAll("details.fold").forEach((node) => { node.open = open; });
});
addEventListener("beforeprint", () => {
  document.querySelectorAll("details.fold").forEach((node) => { node.open = true; });
  plots.forEach(draw);
});

// ---------------------------------------------------------------- tables

function sortable(table) {
  const body = table.tBodies[0];
  const original = [...body.rows];
  const buttons = [...table.querySelectorAll("thead button")];
  // the head has two lines where ours and the paper's stand beside each other
  const cells = columnOrder(table);
  for (const button of buttons) {
    const head = button.closest("th");
    const column = cells.indexOf(head);
    button.addEventListener("click", () => {
      const next = { descending: "ascending", ascending: null }[head.getAttribute("aria-sort")];
      const way = head.hasAttribute("aria-sort") ? next : column === 0 ? "ascending" : "descending";
      cells.forEach((cell) => cell.removeAttribute("aria-sort"));
      if (way) head.setAttribute("aria-sort", way);
      body.append(...(way ? ordered(original, column, way) : original));
    });
  }
}

function columnOrder(table) {
  const [first, second] = table.tHead.rows;
  if (!second) return [...first.cells];
  return [first.cells[0], ...second.cells, first.cells[first.cells.length - 1]];
}

function ordered(rows, column, way) {
  const sign = way === "ascending" ? 1 : -1;
  const value = (row) => {
    const cell = row.cells[column];
    if (column === 0) return cell.textContent.trim().toLowerCase();
    return "value" in cell.dataset ? Number(cell.dataset.value) : null;
  };
  return [...rows].sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x === null || y === null) return (x === null) - (y === null); // none: at the end
    return sign * (x < y ? -1 : x > y ? 1 : 0);
  });
}

document.querySelectorAll("table.board").forEach(sortable);

document.querySelectorAll("[data-gallery]").forEach((root) => {
  whenSeen(root, () => { root.shown = new Gallery(root); });
});

// ---------------------------------------------------------------- contents

const links = new Map([...document.querySelectorAll(".contents a")]
  .map((a) => [a.getAttribute("href").slice(1), a]));
const bar = document.querySelector(".contents ul");
const spy = new IntersectionObserver((entries) => {
  for (const entry of entries.filter((e) => e.isIntersecting)) {
    links.forEach((a) => a.removeAttribute("aria-current"));
    const link = links.get(entry.target.id);
    link?.setAttribute("aria-current", "true");
    if (link) bar.scrollTo({ left: link.offsetLeft - bar.clientWidth / 2 });
  }
}, { rootMargin: "-15% 0px -75% 0px" });
links.forEach((_, id) => { const node = document.getElementById(id); if (node) spy.observe(node); });
document.documentElement.dataset.ready = "yes";
