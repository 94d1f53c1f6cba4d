// The account and its benchmark as lines, the value of the positions as pillars; the same as a table.

import { colours, library, load, NO_LIBRARY, options } from "./chart_look.js";
import { fill, h, say } from "./dom.js";
import { money } from "./numbers.js";
import { table } from "./table.js";

const DASHED = 2;
const AGAIN_MS = 3_000; // where the library did not come

/** element: the chart, a line of text for the point below the mouse, and the table. */
export class EquityChart {
  #chart = null;
  #series = {};
  #points = [];
  #scheme = matchMedia("(prefers-color-scheme: dark)");
  #read = h("p", { class: "note equity-read" });
  #message = h("p", { class: "message" });
  #canvas = h("div", { class: "canvas" });
  #table = table("Equity, the newest first", COLUMNS);
  #details = h("details", { ontoggle: () => this.#rows() }, h("summary", {}, "Equity as a table"), this.#table.element);
  #box = h("div", { class: "drawn low" }, this.#canvas);
  element = h("div", { class: "equity" }, this.#read, this.#message, this.#box, this.#details);

  /** Draw points: [{ time, equity, benchmark, exposure }], one of a day at most, the oldest first. */
  async draw(points) {
    this.#points = points;
    this.#tell(points.at(-1));
    this.#rows();
    const isBuilt = await load().catch((error) => this.#again(points, error));
    if (isBuilt === undefined || this.#points !== points) return;
    this.#box.hidden = !isBuilt;
    say(this.#message, isBuilt ? "" : NO_LIBRARY);
    if (isBuilt) this.#lines();
  }

  #again(points, error) {
    say(this.#message, `${error.message}: trying again.`);
    setTimeout(() => this.#points === points && this.draw(points), AGAIN_MS);
  }

  close() {
    this.#points = null;
    this.#scheme.removeEventListener("change", this.#repaint);
    this.#chart?.remove();
    this.#chart = null;
  }

  #lines() {
    if (!this.#chart) this.#open();
    const of = (name) => this.#points.map((point) => ({ time: secondsOf(point), value: point[name] }));
    Object.entries(this.#series).forEach(([name, series]) => series.setData(of(name)));
    this.#chart.timeScale().fitContent();
  }

  #open() {
    const { createChart, HistogramSeries, LineSeries } = library;
    const quiet = { priceLineVisible: false, lastValueVisible: false };
    this.#chart = createChart(this.#canvas, { autoSize: true });
    const exposure = this.#chart.addSeries(HistogramSeries, { priceScaleId: "exposure", ...quiet });
    exposure.priceScale().applyOptions({ scaleMargins: { top: 0.75, bottom: 0 } });
    this.#series = {
      exposure,
      benchmark: this.#chart.addSeries(LineSeries, { lineStyle: DASHED, lineWidth: 2, ...quiet }),
      equity: this.#chart.addSeries(LineSeries, { lineWidth: 2, ...quiet }),
    };
    this.#series.equity.priceScale().applyOptions({ scaleMargins: { top: 0.08, bottom: 0.3 } });
    this.#chart.subscribeCrosshairMove(({ time }) => this.#tell(this.#points.find((point) => secondsOf(point) === time) ?? this.#points.at(-1)));
    this.#scheme.addEventListener("change", this.#repaint);
    this.#repaint();
  }

  #repaint = () => {
    const { text, quiet, accent } = colours();
    const look = options(colours(), true);
    // The whole of it is always in view: a wheel or a finger moves the page.
    this.#chart.applyOptions({ ...look, timeScale: { ...look.timeScale, rightOffset: 0, minBarSpacing: 0.01, maxBarSpacing: 0 }, handleScroll: false, handleScale: false });
    this.#series.equity.applyOptions({ color: accent });
    this.#series.benchmark.applyOptions({ color: text });
    this.#series.exposure.applyOptions({ color: quiet + "50" });
  };

  #tell(point) {
    if (!point) return say(this.#read, "");
    fill(this.#read, `${point.time.slice(0, 10)} `, h("span", { class: "curve account" }, `account ${money(point.equity)}`), " ",
      h("span", { class: "curve benchmark" }, `buy and hold ${money(point.benchmark)}`), " ", h("span", { class: "curve exposure" }, `in positions ${money(point.exposure)}`));
  }

  #rows() {
    if (this.#details.open) this.#table.rows(this.#points.toReversed());
  }
}

const secondsOf = (point) => Date.parse(point.time.slice(0, 10)) / 1000;

const COLUMNS = [
  { title: "day", cell: (point) => point.time.slice(0, 10) },
  { title: "account", number: true, cell: (point) => money(point.equity) },
  { title: "buy and hold", number: true, cell: (point) => money(point.benchmark) },
  { title: "in positions", number: true, cell: (point) => money(point.exposure) },
];
