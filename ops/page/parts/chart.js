// Draws one symbol with TradingView's Lightweight Charts: candles, volume, lines of indicators, marks, levels, gaps.
// It does not call the API. A time is the start of a bar in Unix seconds.

import { colours, library, options, RIGHT_OFFSET } from "./chart_look.js";

const OSCILLATORS = /^(RSI|MACD|ATR|RelativeVolume|Stoch)/; // each of these has its own scale and pane
const DASHED = 2;

export class Chart {
  #chart;
  #candles;
  #volume;
  #gaps;
  #marks;
  #gapMarks;
  #newest = 0; // the time of the newest bar
  #levels = [];
  #lines = new Map(); // name of an output -> its series
  #colours;
  #long; // bars of days and longer: dates without a zone
  #scheme = matchMedia("(prefers-color-scheme: dark)");
  #reduced = matchMedia("(prefers-reduced-motion: reduce)");
  #painted = () => {};

  /**
   * long: days and longer. hear: { pointed(time or null, id of a mark or null), chosen(id of a mark),
   * near(): the oldest bars come into view }.
   */
  constructor(element, long, hear) {
    this.#long = long;
    const { createChart, CandlestickSeries, HistogramSeries, createSeriesMarkers } = library;
    this.#chart = createChart(element, { autoSize: true, ...this.#options() });
    this.#gaps = this.#chart.addSeries(HistogramSeries, { priceScaleId: "gaps", lastValueVisible: false, priceLineVisible: false });
    this.#gaps.priceScale().applyOptions({ scaleMargins: { top: 0, bottom: 0 } });
    this.#volume = this.#chart.addSeries(HistogramSeries, { priceScaleId: "volume", priceFormat: { type: "volume" }, lastValueVisible: false, priceLineVisible: false });
    this.#volume.priceScale().applyOptions({ scaleMargins: { top: 0.82, bottom: 0 } });
    this.#candles = this.#chart.addSeries(CandlestickSeries, {});
    this.#candles.priceScale().applyOptions({ scaleMargins: { top: 0.1, bottom: 0.22 } });
    this.#marks = createSeriesMarkers(this.#candles, []);
    this.#gapMarks = createSeriesMarkers(this.#gaps, []);
    this.#chart.subscribeCrosshairMove((at) => hear.pointed(at.time ?? null, at.hoveredInfo?.objectId ?? null));
    this.#chart.subscribeClick((at) => at.hoveredInfo?.objectId && hear.chosen(at.hoveredInfo.objectId));
    this.#chart.timeScale().subscribeVisibleLogicalRangeChange((range) => range && range.from < 20 && hear.near());
    this.#scheme.addEventListener("change", this.#repaint);
    this.#repaint();
  }

  /** Set a function that draws the caller's part again after a change of colours. */
  onRepaint(again) {
    this.#painted = again;
  }

  #repaint = () => {
    const scale = this.#chart.timeScale();
    const range = scale.getVisibleLogicalRange();
    this.#chart.applyOptions(this.#options()); // their right offset scrolls to the newest bar
    if (range) scale.setVisibleLogicalRange(range);
    const { up, down, quiet } = this.#colours;
    this.#candles.applyOptions({ upColor: up, downColor: down, wickUpColor: up, wickDownColor: down, borderUpColor: up, borderDownColor: down, priceLineColor: quiet });
    this.#painted();
  };

  #options() {
    this.#colours = colours();
    return options(this.#colours, this.#long);
  }

  /** Draw all bars. */
  bars(list, flashing = new Set()) {
    this.#newest = list.at(-1)?.time ?? 0;
    this.#candles.setData(list.map((bar) => this.#candle(bar, flashing.has(bar.time))));
    this.#volume.setData(list.map((bar) => this.#pillar(bar)));
  }

  /** Draw the newest bar, or draw it again after a change. */
  bar(bar, flashes = false) {
    this.#newest = bar.time;
    this.#candles.update(this.#candle(bar, flashes));
    this.#volume.update(this.#pillar(bar));
  }

  // A partial bar is hollow; one that just changed stands out for a moment.
  #candle({ time, open, high, low, close, provenance }, flashes) {
    const edge = close < open ? this.#colours.down : this.#colours.up;
    const body = flashes ? { color: this.#colours.flash, borderColor: this.#colours.accent, wickColor: this.#colours.accent } : provenance === "partial" ? { color: "transparent", borderColor: edge, wickColor: edge } : {};
    return { time, open, high, low, close, ...body };
  }

  #pillar({ time, open, close, volume }) {
    return { time, value: volume, color: (close < open ? this.#colours.down : this.#colours.up) + "66" };
  }

  /** Shade the bars in gaps. list: [{ times: [seconds], words }]. */
  gaps(list) {
    const times = [...new Set(list.flatMap((gap) => gap.times))].sort((a, b) => a - b);
    this.#gaps.setData(times.map((time) => ({ time, value: 1, color: this.#colours.warn + "40" })));
    const mark = ({ times, words }) => ({ time: times[0], position: "inBar", shape: "square", size: 0, color: this.#colours.warn, text: words });
    this.#gapMarks.setMarkers(list.filter((gap) => gap.times.length).map(mark).sort((a, b) => a.time - b.time));
  }

  /** Mark bars. list: [{ id, time, kind: bullish, bearish, neutral, gone, note or left, text }], the oldest first. */
  marks(list) {
    const { up, down, quiet, accent, warn } = this.#colours;
    const looks = {
      bullish: { position: "belowBar", shape: "arrowUp", color: up },
      bearish: { position: "aboveBar", shape: "arrowDown", color: down },
      neutral: { position: "aboveBar", shape: "circle", color: accent, size: 0.6 },
      gone: { position: "aboveBar", shape: "square", color: quiet, size: 0.6 },
      note: { position: "belowBar", shape: "square", color: warn, size: 0.4 },
      left: { position: "aboveBar", shape: "square", color: accent, size: 0.8 },
    };
    this.#marks.setMarkers(list.map(({ id, time, kind, text }) => ({ id, time, text, ...looks[kind] })));
  }

  /** Draw levels: [{ price, title }], for example those of a pattern; an empty list removes them. */
  levels(list) {
    this.#levels.forEach((level) => this.#candles.removePriceLine(level));
    const line = ({ price, title }) => this.#candles.createPriceLine({ price, title, color: this.#colours.accent, lineStyle: DASHED, lineWidth: 1, axisLabelVisible: true });
    this.#levels = list.map(line);
  }

  /** Draw the outputs of indicators. lines: Map of output -> { indicator, points: [{ time, value }] }. */
  lines(lines) {
    const panes = [...new Set([...lines.values()].map((line) => line.indicator).filter((name) => OSCILLATORS.test(name)))];
    const wanted = [...lines].map(([name, line]) => [name, panes.indexOf(line.indicator) + 1, line]);
    if (wanted.some(([name, pane]) => (this.#lines.get(name)?.getPane().paneIndex() ?? pane) !== pane) || [...this.#lines.keys()].some((name) => !lines.has(name))) this.#clearLines();
    wanted.forEach(([name, pane, line], index) => {
      const series = this.#lines.get(name) ?? this.#line(name, pane, index);
      series.setData(line.points);
    });
  }

  #clearLines() {
    this.#lines.forEach((series) => this.#chart.removeSeries(series));
    this.#lines.clear();
  }

  #line(name, pane, index) {
    const histogram = name.endsWith("_histogram");
    const kind = histogram ? library.HistogramSeries : library.LineSeries;
    const hues = ["#3f7fd0", "#b8860b", "#8e5bb5", "#2a9d8f", "#c0605a", "#6b8e23"];
    const series = this.#chart.addSeries(kind, { title: name, color: hues[index % hues.length], lineWidth: 1, priceLineVisible: false, lastValueVisible: true, crosshairMarkerVisible: false }, pane);
    if (pane) this.#chart.panes()[pane].setStretchFactor(0.28);
    this.#lines.set(name, series);
    return series;
  }

  /** Scroll a bar to the middle, or as far as there are bars; null: scroll the newest bars to the right edge. */
  show(time) {
    const scale = this.#chart.timeScale();
    const index = time === null ? null : scale.timeToIndex(time, true);
    if (index === null) return scale.scrollToPosition(RIGHT_OFFSET, !this.#reduced.matches);
    const range = scale.getVisibleLogicalRange();
    const half = Math.min(Math.max(range ? (range.to - range.from) / 2 : 60, 20), 100);
    const end = Math.min(index + half, (scale.timeToIndex(this.#newest, true) ?? index) + RIGHT_OFFSET);
    scale.setVisibleLogicalRange({ from: end - 2 * half, to: end });
  }

  /** Show the bars from one time to another one, with some before and after them. */
  span(from, to) {
    const scale = this.#chart.timeScale();
    const [first, last] = [scale.timeToIndex(from, true), scale.timeToIndex(to, true)];
    if (first === null || last === null) return;
    const around = Math.max(30, (last - first) / 3);
    scale.setVisibleLogicalRange({ from: first - around, to: last + around });
  }

  /** Draw no line at the newest close: the bars are of a past time. */
  past() {
    this.#candles.applyOptions({ priceLineVisible: false, lastValueVisible: false });
  }

  /** Show every bar. */
  fit() {
    this.#chart.timeScale().fitContent();
  }

  /** Draw and keep the same bars in view, although older bars are added. time: of any bar that is drawn already. */
  still(time, draw) {
    const scale = this.#chart.timeScale();
    const range = scale.getVisibleLogicalRange();
    const before = scale.timeToIndex(time, true);
    draw();
    const shift = scale.timeToIndex(time, true) - before;
    if (range && shift) scale.setVisibleLogicalRange({ from: range.from + shift, to: range.to + shift });
  }

  close() {
    this.#scheme.removeEventListener("change", this.#repaint);
    this.#chart.remove();
  }
}
