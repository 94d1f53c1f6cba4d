// One backtest: its state in words, its figures, its equity, its trades, and one trade on the candles.

import { fill, h, say } from "./dom.js";
import { EquityChart } from "./equity_chart.js";
import { count, exactPercent, money, percent, ratio } from "./numbers.js";
import { table } from "./table.js";
import { isLong } from "./timeframes.js";
import { minute, zoneName } from "./times.js";
import { TradeChart } from "./trade_chart.js";

export const ACTIVE = ["queued", "running", "cancelling"];
export const SIGNS = { completed: "up", failed: "down", cancelled: "warn" };
export const TRADES = 100; // on a page
const STATES = {
  queued: "It is queued: a process tickstock-jobs begins it, three backtests at a time.",
  running: "It runs: first the signals of all symbols are found, then they are traded.",
  cancelling: "It is being cancelled.",
  cancelled: "It was cancelled, so it has no result.",
};
const PASSED_OVER = { in_position: "the symbol had a position", no_next_bar: "no bar came after it", no_capital: "no money for one share", short_not_allowed: "short is off" };
const FIGURES = [
  ["total return", "total_return", percent],
  ["return a year", "annual_return", percent],
  ["Sharpe", "sharpe", ratio],
  ["Sortino", "sortino", ratio],
  ["maximal drawdown", "max_drawdown", percent],
  ["exposure", "exposure", percent],
  ["equity at the end", "final_equity", money],
];

/** element: everything about one backtest. */
export class BacktestReport {
  #hear;
  #listed = null; // the report and the trade of the rows below
  #marked = null;
  #report = null;
  #title = h("h2", { tabindex: -1 });
  #status = h("strong", {});
  #request = h("p", { class: "note" });
  #words = h("p", { class: "note", role: "status" });
  #progress = h("progress", { max: 100, "aria-label": "Progress of the backtest" });
  #cancel = h("button", { onclick: () => this.#hear.cancel(this.#report.backtest) }, "Cancel the backtest");
  #figures = table("Figures", FIGURE_COLUMNS);
  #groups = [["By pattern", "by_pattern"], ["By symbol", "by_symbol"]].map(([title, key]) => ({ title, key, table: table(title, GROUP_COLUMNS) }));
  #signals = h("p", { class: "note" });
  #equity = new EquityChart();
  #trade;
  #trades = table("Trades, in the order of their entries", this.#columns(), "no trade");
  #pages = h("div", { class: "bar" });
  #result;
  element;

  /** hear: { cancel(backtest), again(backtest), page(after), trade(number or null), missing(): no library for charts }. */
  constructor(hear) {
    this.#hear = hear;
    this.#trade = new TradeChart(() => hear.trade(null));
    const again = h("button", { onclick: () => hear.again(this.#report.backtest) }, "Change and start again");
    const section = (title, ...inside) => h("section", {}, h("h2", {}, title), inside);
    this.#result = h("div", { class: "result" },
      section("Equity", this.#equity.element),
      h("div", { class: "figures" }, section("Account and benchmark", this.#figures.element, this.#signals),
        h("div", { class: "groups" }, this.#groups.map(({ title, table: { element } }) => section(title, element)))),
      this.#trade.element,
      h("section", {}, h("div", { class: "bar" }, h("h2", {}, "Trades"), this.#pages), this.#trades.element));
    this.element = h("section", { class: "report", "aria-label": "The chosen backtest", hidden: true },
      h("div", { class: "card" }, h("div", { class: "bar" }, this.#title, this.#status), this.#request, this.#words, this.#progress, h("div", { class: "bar" }, this.#cancel, again)), this.#result);
  }

  /** Bring the report into view, or the chosen trade. */
  find() {
    this.#title.focus({ preventScroll: true });
    if (this.#trade.element.hidden) this.element.scrollIntoView({ block: "start" });
    else this.#trade.find();
  }

  hide() {
    this.element.hidden = true;
  }

  /** Show a report of GET /api/backtests/{job_id}. after: number of the trades before the first one in it; trade: number of the chosen one. */
  draw(report, { after, trade }) {
    this.#report = report;
    this.element.hidden = false;
    this.#tell(report.backtest);
    this.#result.hidden = !report.metrics;
    if (!report.metrics) return this.#trade.draw(null);
    if (this.#listed !== report) this.#list(report);
    if (this.#listed !== report || this.#marked !== trade) this.#rows(after, trade);
    this.#listed = report;
  }

  close() {
    this.#equity.close();
    this.#trade.close();
  }

  #tell(one) {
    const isActive = ACTIVE.includes(one.status);
    say(this.#title, `Backtest ${one.job_id}`);
    say(this.#status, one.status);
    this.#status.className = SIGNS[one.status] ?? "";
    say(this.#request, requestOf(one));
    say(this.#words, this.#state(one));
    this.#progress.hidden = this.#cancel.hidden = !isActive;
    this.#progress.value = one.progress;
    this.#cancel.disabled = one.status === "cancelling";
  }

  #state(one) {
    if (one.status === "running") return `${STATES.running} ${count(one.progress)} % are done.`;
    if (one.status === "failed") return `It failed: ${one.error ?? "nobody said why"}.`;
    if (one.status !== "completed") return STATES[one.status] ?? "";
    const { total_trades: trades, signals, total_return: own, benchmark_return: held } = one.results;
    if (!trades) return `It has no trade: ${signals ? `${count(signals)} signals, and none of them was traded` : "these patterns gave no signal on these days"}.`;
    return `The account made ${percent(own)} with ${count(trades)} trades; buy and hold made ${percent(held)}.`;
  }

  #list(report) {
    const { account, benchmark, trades, signals, passed_over: passed } = report.metrics;
    this.#figures.rows(FIGURES.map(([title, key, write]) => ({ title, account: write(account[key]), benchmark: write(benchmark[key]) })));
    this.#groups.forEach(({ key, table: { rows } }) => rows([["all", trades], ...Object.entries(report.metrics[key])]));
    const reasons = Object.entries(passed).filter(([, number]) => number).map(([reason, number]) => `${count(number)}: ${PASSED_OVER[reason] ?? reason}`);
    say(this.#signals, `${count(signals)} signals. Not traded: ${reasons.join("; ") || "none"}.`);
    this.#equity.draw(report.equity);
  }

  #rows(after, trade) {
    const { backtest, trades, metrics } = this.#report;
    const numbered = trades.map((one, index) => ({ ...one, number: after + index + 1, timeframe: backtest.timeframe }));
    this.#trades.rows(numbered, (one) => ({ "data-trade": one.number, "aria-selected": one.number === trade ? "true" : null }));
    this.#turn(after, metrics.trades.trades);
    this.#trade.draw(numbered.find((one) => one.number === trade) ?? null, backtest.job_id);
    this.#marked = trade;
  }

  #turn(after, every) {
    const to = (first, title) => h("button", { ".disabled": first < 0 || first >= every, onclick: () => this.#hear.page(first) }, title);
    const last = Math.min(after + TRADES, every);
    fill(this.#pages, h("span", { class: "quiet" }, every ? `${count(after + 1)} to ${count(last)} of ${count(every)}` : "none"), every > TRADES && [to(after - TRADES, "Earlier"), to(after + TRADES, "Later")]);
  }

  #columns() {
    return [
      { title: "no.", number: true, cell: (one) => count(one.number) },
      { title: "symbol", cell: (one) => h("button", { class: "link", "aria-label": `Trade ${one.number} of ${one.symbol} on its candles`, onclick: () => this.#hear.trade(one.number) }, one.symbol) },
      { title: "pattern", cell: (one) => one.pattern },
      { title: "direction", cell: (one) => h("span", { class: one.direction === "long" ? "up" : "down" }, one.direction === "long" ? "▲ long" : "▼ short") },
      { title: "entry", cell: (one) => timeOf(one.entry_time, one.timeframe) },
      { title: "at", number: true, cell: (one) => money(one.entry_price) },
      { title: "exit", cell: (one) => timeOf(one.exit_time, one.timeframe) },
      { title: "at", number: true, cell: (one) => money(one.exit_price) },
      { title: "reason", cell: (one) => one.reason.replaceAll("_", " ") },
      { title: "profit", number: true, cell: (one) => signed(one.profit) },
      { title: "shares", number: true, cell: (one) => count(one.shares) },
      { title: "bars", number: true, cell: (one) => count(one.bars) },
      { title: "commission", number: true, cell: (one) => money(one.commission) },
      { title: "confidence", number: true, cell: (one) => ratio(one.confidence) },
    ];
  }
}

const timeOf = (text, timeframe) => (isLong(timeframe) ? text.slice(0, 10) : minute(Date.parse(text)));
const signed = (value) => h("span", { class: value > 0 ? "up" : value < 0 ? "down" : "" }, money(value));

function requestOf({ symbols, patterns, start_date: first, end_date: last, timeframe, parameters: rules }) {
  const zone = isLong(timeframe) ? "" : ` Times: ${zoneName()}.`;
  const end = (share) => (share ? exactPercent(share) : "none");
  return `${symbols.join(", ")}; ${patterns.join(", ")}; ${timeframe} bars from ${first} to ${last}. ` +
    `Capital ${count(rules.initial_capital)}, a position at most ${exactPercent(rules.max_position_size)} of the equity; stop ${end(rules.stop_loss_pct)}, target ${end(rules.take_profit_pct)}, ` +
    `most bars ${rules.max_bars ? count(rules.max_bars) : "no limit"}; commission ${exactPercent(rules.commission_rate)}, slippage ${exactPercent(rules.slippage_rate)}; ${rules.short ? "long and short" : "long only"}.${zone}`;
}

const FIGURE_COLUMNS = [
  { title: "figure", cell: (one) => one.title },
  { title: "account", number: true, cell: (one) => one.account },
  { title: "buy and hold", number: true, cell: (one) => one.benchmark },
];

const GROUP_COLUMNS = [
  { title: "of", cell: ([name]) => name },
  { title: "trades", number: true, cell: ([, one]) => count(one.trades) },
  { title: "won", number: true, cell: ([, one]) => percent(one.win_rate) },
  { title: "profit", number: true, cell: ([, one]) => signed(one.profit) },
  { title: "mean", number: true, cell: ([, one]) => money(one.average_profit) },
  { title: "best", number: true, cell: ([, one]) => money(one.best) },
  { title: "worst", number: true, cell: ([, one]) => money(one.worst) },
  { title: "profit factor", number: true, cell: ([, one]) => ratio(one.profit_factor) },
  { title: "bars", number: true, cell: ([, one]) => ratio(one.average_bars) },
  { title: "commission", number: true, cell: ([, one]) => money(one.commission) },
];
