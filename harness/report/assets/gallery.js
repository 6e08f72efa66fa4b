// The gallery of a pool: pictures by source, guidance and seed, and what a threshold keeps.

const ROWS = 12; // spectra on a page
const CLASSES = 100; // lines of the table of what is kept
const levelName = (level) => (level === 0 ? "0, text only" : String(level / 100));

class Gallery {
  constructor(root) {
    this.root = root;
    this.data = stored(`gallery-${root.dataset.gallery}`);
    this.scores = this.data.scores.map((row) => row.map(int16));
    this.real = this.data.sources.some((s) => s.real !== null);
    this.at = { page: 0, seed: 0, class: "", threshold: this.data.threshold };
    this.find = (name) => root.querySelector(`.${name}`);
    this.controls();
    this.show();
    this.count();
  }

  controls() {
    const { data, at } = this;
    const all = this.scores.flat();
    const low = Math.min(...all.filter((s) => s.length).map((s) => s[0])) / data.scale;
    const high = Math.max(...all.filter((s) => s.length).map((s) => s[s.length - 1])) / data.scale;
    const slider = this.find("threshold");
    const step = 0.005;
    slider.min = (Math.floor(low / step) * step).toFixed(3);
    slider.max = ((Math.ceil(high / step) + 1) * step).toFixed(3);
    slider.step = step;
    slider.value = at.threshold;
    slider.addEventListener("input", () => {
      at.threshold = Number(slider.value);
      this.find("at").value = String(at.threshold);
      this.cross();
      this.count();
    });
    const choose = this.find("class");
    choose.append(el("option", { value: "" }, "all"));
    const shown = new Set(data.sources.map((s) => s.class));
    [...shown].sort((a, b) => a - b).forEach((i) => {
      choose.append(el("option", { value: i }, data.classes[i]));
    });
    choose.addEventListener("change", () => this.go({ class: choose.value, page: 0 }));
    this.find("back").addEventListener("click", () => this.go({ page: at.page - 1 }));
    this.find("on").addEventListener("click", () => this.go({ page: at.page + 1 }));
    this.find("seed-back").addEventListener("click", () => this.go({ seed: at.seed - 1 }));
    this.find("seed-on").addEventListener("click", () => this.go({ seed: at.seed + 1 }));
    this.find("filter").addEventListener("input", () => this.count());
    this.find("order").addEventListener("change", () => this.count());
  }

  go(change) {
    Object.assign(this.at, change);
    this.show();
  }

  // The pictures of one page are in the document, the others are text until they are turned to.
  show() {
    const { data, at } = this;
    const chosen = at.class === "" ? data.sources
      : data.sources.filter((s) => s.class === Number(at.class));
    const pages = Math.max(1, Math.ceil(chosen.length / ROWS));
    at.page = Math.min(Math.max(0, at.page), pages - 1);
    this.find("page").textContent = `Page ${at.page + 1} of ${pages}`;
    this.find("back").disabled = at.page === 0;
    this.find("on").disabled = at.page === pages - 1;
    const seed = data.seeds[at.seed];
    this.find("seed").textContent = `Seed ${seed} (${at.seed + 1} of ${data.seeds.length})`;
    this.find("seed-back").disabled = at.seed === 0;
    this.find("seed-on").disabled = at.seed === data.seeds.length - 1;
    const grid = this.find("pictures");
    const heads = [...data.levels.map(levelName), ...(this.real ? ["1, real"] : [])];
    grid.style.setProperty("--columns", heads.length);
    grid.replaceChildren(
      el("div", { class: "head name-head" }, "guidance"),
      ...heads.map((name) => el("div", { class: "head" }, name)),
      ...chosen.slice(at.page * ROWS, (at.page + 1) * ROWS).flatMap((s) => this.row(s)),
    );
    this.cross();
  }

  row(source) {
    const { data, at } = this;
    const name = data.classes[source.class];
    const made = data.levels.map((level, i) => {
      const score = source.scores[i][at.seed];
      const about = `${name}, guidance ${levelName(level)}`;
      return this.picture(source.images[i][at.seed], about, score);
    });
    const real = this.real ? [this.picture(source.real, `${name}, the real picture`)] : [];
    return [el("div", { class: "name" }, name), ...made, ...real];
  }

  picture(image, about, score) {
    const said = score === undefined ? "real" : score === null ? "no score"
      : (score / this.data.scale).toFixed(3);
    const inside = image === null ? el("div", { class: "gone" }) : el("img", {
      src: `data:image/webp;base64,${image}`, alt: `${about}, CLIPScore ${said}`,
      title: `${about}, CLIPScore ${said}`, loading: "lazy", decoding: "async",
    });
    const made = el("figure", { class: "picture" },
      el("div", { class: "frame" }, inside), el("figcaption", {}, said));
    if (image !== null) {
      inside.addEventListener("load", () => {
        made.classList.toggle("small", inside.naturalWidth <= 48);
      });
    }
    if (typeof score === "number") made.dataset.score = score;
    return made;
  }

  // In whole numbers, as the scores are kept.
  get limit() { return Math.round(this.at.threshold * this.data.scale); }

  cross() {
    for (const made of this.root.querySelectorAll(".picture[data-score]")) {
      made.classList.toggle("out", Number(made.dataset.score) < this.limit);
    }
  }

  count() {
    const { data, limit } = this;
    const wanted = this.find("filter").value.trim().toLowerCase();
    const rows = data.classes.map((name, i) => {
      const cells = this.scores[i].map((s) => [s.length - below(s, limit), s.length]);
      return { name, cells, kept: cells.reduce((sum, c) => sum + c[0], 0) };
    });
    const total = data.levels.map((_, k) => rows.reduce(
      ([kept, of], row) => [kept + row.cells[k][0], of + row.cells[k][1]], [0, 0],
    ));
    const found = rows.filter((row) => row.name.toLowerCase().includes(wanted));
    if (this.find("order").value === "few") found.sort((a, b) => a.kept - b.kept);
    const table = this.find("kept").querySelector("table");
    table.tHead.replaceChildren(el("tr", {}, el("th", { class: "first", scope: "col" }, "Class"),
      ...data.levels.map((level) => el("th", { scope: "col" }, levelName(level))),
      el("th", { scope: "col" }, "All")));
    const shown = found.slice(0, CLASSES).map((row) => line(row.name, row.cells));
    const rest = found.length - shown.length;
    if (rest > 0) {
      const says = `${rest} more classes; filter by name to see them`;
      shown.push(el("tr", {}, el("td", { colspan: data.levels.length + 2 }, says)));
    }
    table.tBodies[0].replaceChildren(line("All classes", total, "total"), ...shown);
    const empty = data.levels.filter((_, k) => total[k][0] === 0).map(levelName);
    const none = rows.filter((row) => row.kept === 0).length;
    const told = [];
    if (empty.length) told.push(`Guidance ${empty.join("; ")}: nothing left, such a run is refused.`);
    if (none) told.push(`${none} of ${rows.length} classes keep no image.`);
    this.find("warning").textContent = told.join(" ");
  }
}

function line(name, cells, kind) {
  const sum = cells.reduce(([k, n], c) => [k + c[0], n + c[1]], [0, 0]);
  return el("tr", { class: kind }, el("th", { scope: "row" }, name),
    ...[...cells, sum].map(([kept, of]) => {
      const cell = el("td", {}, of ? `${kept} / ${of}` : "–");
      cell.style.setProperty("--share", of ? kept / of : 0);
      return cell;
    }));
}

function int16(text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  return new Int16Array(bytes.buffer);
}

// How many of the ascending values are smaller.
function below(values, limit) {
  let [low, high] = [0, values.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] < limit) low = middle + 1; else high = middle;
  }
  return low;
}
