// Charts that can be moved and read: bars with trades in them, equity, profit, drawdown.
// The page holds a plain drawing of the same data, which stays where this does not run.
"use strict";

(() => {
  const { createChart, createSeriesMarkers } = LightweightCharts;
  const { AreaSeries, CandlestickSeries, HistogramSeries, LineSeries } = LightweightCharts;
  const DAY = 86_400;
  const SPANS = [[said("1M"), 31], [said("3M"), 92], [said("6M"), 183], [said("1Y"), 366], [said("5Y"), 1827], [said("All"), 0]];
  const SIDES = { buy: said("buy"), sell: said("sell") };
  const charts = new Set();

  // A variable that holds light-dark() is only a colour once something wears it.
  function colour(name) {
    const probe = document.createElement("i");
    probe.hidden = true;
    probe.style.color = `var(--${name})`;
    document.body.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  }

  function look() {
    const line = colour("line");
    return {
      layout: {
        background: { color: "transparent" },
        textColor: colour("muted"),
        attributionLogo: false,
        fontFamily: getComputedStyle(document.body).fontFamily,
      },
      grid: { vertLines: { visible: false }, horzLines: { color: line } },
      rightPriceScale: { borderVisible: false },
      timeScale: { borderColor: line, minBarSpacing: 0.05 },
      localization: { locale: document.documentElement.lang },
    };
  }

  function faded(rgb, part) {
    return rgb.replace("rgb(", "rgba(").replace(")", `, ${part})`);
  }

  const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 8 });
  // A true minus, as everywhere else.
  const percent = (value, digits = 2) => `${Number(value).toFixed(digits).replace("-", "\u2212")} %`;
  const amount = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });

  // ── what every chart has ──────────────────────────────────────────────────────────────────

  class Chart {
    constructor(holder) {
      this.holder = holder;
      this.address = new URL(holder.dataset.from, location.href);
      this.stage = document.createElement("div");
      this.stage.className = "chart-stage";
      this.legend = document.createElement("p");
      this.legend.className = "chart-legend";
      this.tools = document.createElement("div");
      this.tools.className = "chart-tools";
    }

    async begin() {
      this.holder.setAttribute("aria-busy", "true");
      // Only who waits is told so.
      const slow = setTimeout(() => this.#note(said("Reading the chart…")), 400);
      const found = await this.begun();
      clearTimeout(slow);
      if (!found) this.#failed();
      else if (!this.has(found)) this.#note(this.holder.querySelector("svg") ? "" : said("There is too little to draw yet."));
      else await this.#begin(found);
      this.holder.removeAttribute("aria-busy");
    }

    async #begin(found) {
      const fallback = [...this.holder.children];
      this.holder.append(this.tools, this.legend, this.stage);
      for (const child of fallback) child.hidden = true;
      this.chart = createChart(this.stage, {
        ...look(),
        autoSize: true,
        crosshair: { mode: 0 },
        handleScroll: { vertTouchDrag: false },
      });
      await this.#sized();
      this.draw(found);
      this.chart.subscribeCrosshairMove((place) => this.say(place));
      // A phone that is turned still shows everything, when everything was shown.
      this.chart.timeScale().subscribeSizeChange(() => this.isWhole && this.chart.timeScale().fitContent());
      this.stage.addEventListener("pointerdown", () => (this.isWhole = false));
      this.stage.addEventListener("wheel", () => (this.isWhole = false), { passive: true });
      charts.add(this);
    }

    // Words in the place of the chart; a plain drawing of it stays.
    #note(text, ...more) {
      this.note ??= Object.assign(document.createElement("p"), { className: "muted chart-note" });
      this.note.setAttribute("role", "status");
      this.note.replaceChildren(text, ...more);
      this.note.hidden = text === "";
      for (const plain of this.holder.querySelectorAll(":scope > p")) plain.hidden ||= plain !== this.note;
      this.holder.append(this.note);
    }

    #failed() {
      const again = Object.assign(document.createElement("button"), { type: "button", className: "button", textContent: said("Try again") });
      again.addEventListener("click", () => this.begin());
      this.#note(said("The chart could not be read."), " ", again);
    }

    // What is to be shown depends on the width, which the chart learns a moment later.
    #sized() {
      return new Promise((done) => {
        const observer = new ResizeObserver(() => {
          observer.disconnect();
          requestAnimationFrame(done);
        });
        observer.observe(this.stage);
      });
    }

    begun() {
      return this.read();
    }

    async read(more = {}) {
      const address = new URL(this.address);
      for (const [name, value] of Object.entries(more)) address.searchParams.set(name, value);
      const answer = await fetch(address, { headers: { accept: "application/json" } }).catch(() => null);
      return answer?.ok ? answer.json() : null;
    }

    buttons(choices, chosen, choose) {
      const group = document.createElement("div");
      group.className = "segments";
      group.setAttribute("role", "group");
      for (const [value, label] of choices) {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = label;
        button.setAttribute("aria-pressed", String(value === chosen));
        button.addEventListener("click", () => {
          for (const other of group.children) other.setAttribute("aria-pressed", String(other === button));
          choose(value);
        });
        group.append(button);
      }
      this.tools.append(group);
      return group;
    }

    // Shows this many days before the newest; 0 shows everything.
    span(days, last) {
      const scale = this.chart.timeScale();
      this.isWhole = days === 0;
      if (days) scale.setVisibleRange({ from: last - days * DAY, to: last });
      else scale.fitContent();
    }

    recolour() {
      this.chart.applyOptions(look());
      this.paint();
    }
  }

  // ── equity ────────────────────────────────────────────────────────────────────────────────

  class Equity extends Chart {
    has(found) {
      return found.points.length > 1;
    }

    draw(found) {
      this.points = found.points;
      this.currency = found.currency;
      this.first = this.points[0][0];
      this.last = this.points.at(-1)[0];
      this.buttons([["equity", said("Equity")], ["profit", said("Profit")], ["drawdown", said("Drawdown")]], "equity", (name) => this.show(name));
      this.buttons(this.#spans(), 0, (days) => this.span(days, this.last));
      this.show("equity");
      this.span(0);
    }

    #spans() {
      const known = (this.last - this.first) / DAY;
      return SPANS.filter(([, days]) => days < known).map(([label, days]) => [days, label]);
    }

    show(name) {
      const range = this.shown ? this.chart.timeScale().getVisibleRange() : null;
      for (const series of this.shown ?? []) this.chart.removeSeries(series);
      this.name = name;
      this.shown = { equity: () => this.#equity(), profit: () => this.#profit(), drawdown: () => this.#drawdown() }[name]();
      this.paint();
      if (range) this.chart.timeScale().setVisibleRange(range);
      this.say({});
    }

    #line(kind, values) {
      const series = this.chart.addSeries(kind, { priceLineVisible: false, lineWidth: 2 });
      series.setData(values);
      return series;
    }

    #column(at, rows = this.points) {
      return rows.filter((point) => point[at] !== null).map((point) => ({ time: point[0], value: Number(point[at]) }));
    }

    #equity() {
      return [this.#line(AreaSeries, this.#column(1)), this.#line(LineSeries, this.#column(2))];
    }

    #profit() {
      let total = 0;
      return [this.#line(AreaSeries, this.points.map((point) => ({ time: point[0], value: (total += Number(point[3])) })))];
    }

    #drawdown() {
      return [this.#line(AreaSeries, this.#column(4))];
    }

    paint() {
      const main = colour(this.name === "drawdown" ? "negative" : "accent");
      const from = this.name === "drawdown";
      this.shown[0].applyOptions({
        lineColor: main,
        topColor: faded(main, from ? 0.02 : 0.28),
        bottomColor: faded(main, from ? 0.28 : 0.02),
        priceFormat: { type: "custom", formatter: (value) => (from ? percent(value) : grouped.format(Math.round(value))), minMove: 0.01 },
      });
      this.shown[1]?.applyOptions({ color: colour("muted"), lineStyle: 2, lineWidth: 1 });
    }

    say({ time }) {
      const point = this.points.find((item) => item[0] === time) ?? this.points.at(-1);
      const day = new Date(point[0] * 1000).toISOString().slice(0, 10);
      const fall = point[4] === null ? "" : ` · ${said("drawdown %(share)s", { share: percent(point[4]) })}`;
      const told = {
        equity: `${amount.format(point[1])} ${this.currency}`,
        paid: amount.format(point[2]),
        profit: `${Number(point[3]) > 0 ? "+" : ""}${amount.format(point[3])}`,
      };
      this.legend.textContent = `${day} · ${said("equity %(equity)s · paid in %(paid)s · day %(profit)s", told)}${fall}`;
    }
  }

  // ── bars ──────────────────────────────────────────────────────────────────────────────────

  class Bars extends Chart {
    // The newest bars, or those around the instant of the page when it lies before them.
    async begun() {
      const found = await this.read();
      const at = Number(this.holder.dataset.at ?? 0);
      const isBefore = at && found && !found.is_all && found.bars[0][0] > at;
      return isBefore ? this.read({ before: at + 180 * DAY }) : found;
    }

    has(found) {
      return found.bars.length > 1;
    }

    draw(found) {
      this.candles = this.chart.addSeries(CandlestickSeries, { borderVisible: false, priceLineVisible: false });
      this.volume = this.chart.addSeries(HistogramSeries, {
        priceScaleId: "volume",
        priceFormat: { type: "volume" },
        lastValueVisible: false,
        priceLineVisible: false,
      });
      this.volume.priceScale().applyOptions({ scaleMargins: { top: 0.82, bottom: 0 } });
      this.markers = createSeriesMarkers(this.candles, []);
      const frames = found.timeframes.map((name) => [name, name]);
      if (frames.length > 1) this.buttons(frames, found.timeframe, (timeframe) => this.#ask({ timeframe }));
      if (found.has_splits) {
        const units = [["adjusted", said("Split-adjusted")], ["traded", said("As traded")]];
        this.buttons(units, found.prices, (prices) => this.#ask({ prices }));
      }
      this.#fill(found);
      this.chart.timeScale().subscribeVisibleLogicalRangeChange((range) => this.#older(range));
    }

    async #ask(changed) {
      const found = await this.read({ timeframe: this.timeframe, prices: this.prices, ...changed });
      if (found) this.#fill(found);
    }

    #fill(found) {
      this.timeframe = found.timeframe;
      this.prices = found.prices;
      this.currency = found.currency;
      this.bars = found.bars;
      this.trades = found.trades;
      this.isAll = found.is_all;
      const isIntraday = /[smh]$/.test(found.timeframe);
      this.chart.applyOptions({ timeScale: { timeVisible: isIntraday } });
      this.#set();
      const shown = Math.min(this.bars.length, Math.max(60, Math.floor(this.stage.clientWidth / 5)));
      const end = this.#endAt(shown);
      this.chart.timeScale().setVisibleLogicalRange({ from: end - shown, to: end + 4 });
      this.say({});
    }

    // Where the shown bars end: at the newest, or so that the instant of the page is inside.
    #endAt(shown) {
      const at = Number(this.holder.dataset.at ?? 0);
      const index = this.bars.findIndex((bar) => bar[0] >= at);
      return at && index >= 0 ? Math.min(this.bars.length, index + Math.round(shown / 3)) : this.bars.length;
    }

    // What lies further in the past is read when somebody looks there.
    async #older(range) {
      if (!range || range.from > 10 || this.isAll || this.isReading) return;
      this.isReading = true;
      const found = await this.read({ timeframe: this.timeframe, prices: this.prices, before: this.bars[0][0] });
      this.isReading = false;
      if (!found || found.timeframe !== this.timeframe || found.prices !== this.prices) return;
      this.bars = [...found.bars, ...this.bars];
      this.trades = [...found.trades.filter((trade) => trade.time < this.bars[found.bars.length][0]), ...this.trades];
      this.isAll = found.is_all;
      this.#set();
    }

    #set() {
      this.candles.setData(
        this.bars.map(([time, open, high, low, close]) => ({ time, open: Number(open), high: Number(high), low: Number(low), close: Number(close) })),
      );
      this.byTime = new Map(this.bars.map((bar) => [bar[0], bar]));
      this.traded = new Map();
      for (const trade of this.trades) {
        const time = this.#barOf(trade.time);
        if (time !== null) this.traded.set(time, [...(this.traded.get(time) ?? []), trade]);
      }
      this.paint();
    }

    // The bar in which a trade happened: the last that began before it.
    #barOf(time) {
      let [low, high] = [0, this.bars.length];
      while (low < high) {
        const middle = (low + high) >> 1;
        if (this.bars[middle][0] <= time) low = middle + 1;
        else high = middle;
      }
      return low ? this.bars[low - 1][0] : null;
    }

    paint() {
      const [up, down] = [colour("positive"), colour("negative")];
      this.candles.applyOptions({ upColor: up, wickUpColor: up, downColor: down, wickDownColor: down });
      this.volume.setData(
        this.bars.map(([time, open, , , close, volume]) => ({ time, value: Number(volume), color: faded(Number(close) < Number(open) ? down : up, 0.3) })),
      );
      const marks = [...this.traded].flatMap(([time, trades]) => this.#marks(time, trades, up, down));
      this.markers.setMarkers(marks.sort((one, other) => one.time - other.time));
    }

    #marks(time, trades, up, down) {
      const side = (name) => trades.filter((trade) => trade.side === name);
      const mark = (found, below) => ({
        time,
        position: below ? "belowBar" : "aboveBar",
        shape: below ? "arrowUp" : "arrowDown",
        color: below ? up : down,
        text: found.length > 1 ? `${found.length}×` : grouped.format(found[0].quantity),
      });
      return [["buy", true], ["sell", false]].filter(([name]) => side(name).length).map(([name, below]) => mark(side(name), below));
    }

    say({ time }) {
      const bar = this.byTime?.get(time) ?? this.bars.at(-1);
      const [at, open, high, low, close, volume] = bar;
      const moment = new Date(at * 1000).toISOString();
      const when = moment.endsWith("T00:00:00.000Z") ? moment.slice(0, 10) : `${moment.slice(0, 16).replace("T", " ")} UTC`;
      const trades = (this.traded.get(at) ?? []).map((trade) => `${SIDES[trade.side] ?? said("close")} ${grouped.format(trade.quantity)} @ ${trade.price}`);
      const shown = trades.length > 3 ? [...trades.slice(0, 3), said("%(count)s more", { count: trades.length - 3 })] : trades;
      const told = { open, high, low, close: `${close} ${this.currency}`, volume: grouped.format(volume) };
      const line = said("open %(open)s · high %(high)s · low %(low)s · close %(close)s · volume %(volume)s", told);
      this.legend.textContent = [when, line, ...shown].join(" · ");
    }
  }

  // ── the agents' growth ────────────────────────────────────────────────────────────────────

  const INKS = ["accent", "positive", "negative", "warn", "ink-5", "ink-6", "ink-7", "ink-8"];

  class Race extends Chart {
    has(found) {
      return found.lines.length > 0;
    }

    draw(found) {
      this.lines = found.lines;
      this.drawn = this.lines.map(({ name, points }) => {
        const series = this.chart.addSeries(LineSeries, { priceLineVisible: false, lineWidth: 2, title: name });
        series.setData(points.map(([time, percent]) => ({ time, value: Number(percent) })));
        return series;
      });
      this.paint();
      this.span(0);
      this.say({});
    }

    paint() {
      const priceFormat = { type: "custom", formatter: (value) => percent(value, 1), minMove: 0.01 };
      this.drawn.forEach((series, at) => series.applyOptions({ color: colour(INKS[at]), priceFormat }));
    }

    say({ seriesData, time }) {
      const day = time ? `${new Date(time * 1000).toISOString().slice(0, 10)} · ` : "";
      const parts = this.lines.map(({ name, points }, at) => {
        const value = seriesData?.get(this.drawn[at])?.value ?? (time ? null : Number(points.at(-1)[1]));
        return value === null ? null : `${name} ${value > 0 ? "+" : ""}${percent(value)}`;
      });
      this.legend.textContent = day + parts.filter(Boolean).join(" · ");
    }
  }

  const KINDS = { equity: Equity, bars: Bars, race: Race };
  document.addEventListener("DOMContentLoaded", () => {
    for (const holder of document.querySelectorAll("[data-chart]")) new KINDS[holder.dataset.chart](holder).begin();
  });
  document.addEventListener("themechange", () => charts.forEach((chart) => chart.recolour()));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.forEach((chart) => chart.recolour()));
})();
