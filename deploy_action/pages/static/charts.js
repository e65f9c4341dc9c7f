// Draws the charts of backtests: of each section with `data-charts`, from the JSON within it. The panes
// of one chart share the range and the cursor: accounts, drawdowns, and the price with its orders.
"use strict";
(() => {
  const {createChart, createSeriesMarkers, BaselineSeries, LineSeries} = window.LightweightCharts ?? {};
  const DASH = "–";
  const PIXELS_AN_ORDER = 3;  // with less room, arrows hide each other
  const MOST_ORDERS_SAID = 3;

  const make = (tag, attributes = {}, text = "") => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.textContent = text;
    return element;
  };
  const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const faint = name => colour(name) + "33";

  // Numbers have two decimals; below 10 they have three digits, and prices have five.
  const decimalsFor = (values, digits = 3) => {
    const largest = values.reduce((most, value) => Math.max(most, Math.abs(value ?? 0)), 0);
    return largest > 0 && largest < 10 ? Math.min(10, digits - 1 - Math.floor(Math.log10(largest))) : 2;
  };
  const PRICE_DIGITS = 5;
  const formatter = (decimals, unit = "") => {
    const format = new Intl.NumberFormat("en-US",
      {minimumFractionDigits: decimals, maximumFractionDigits: decimals});
    const sign = unit === "%" ? "%" : "";
    return value => format.format(value).replace("-", "−") + sign;
  };
  const moment = time => new Date(time * 1000).toISOString().slice(0, 16).replace("T", " ");

  // The place of the last time that is not after another one; -1 if there is none.
  const placeOf = (times, time) => {
    let low = 0, high = times.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (times[middle] <= time) low = middle + 1; else high = middle;
    }
    return low - 1;
  };

  // A point without a value is a gap: the line to the next known value is not drawn.
  const points = (times, values, hidden) => times.map((time, at) => {
    if (values[at] === null) return {time};
    return values[at + 1] === null ? {time, value: values[at], ...hidden} : {time, value: values[at]};
  });
  const HIDDEN_LINE = {color: "transparent"};
  const HIDDEN_AREA = {bottomFillColor1: "transparent", bottomFillColor2: "transparent",
    bottomLineColor: "transparent", topLineColor: "transparent"};

  class Charts {
    constructor(section) {
      this.section = section;
      this.data = JSON.parse(section.querySelector("script[type='application/json']").textContent);
      if (!this.data.accounts.some(one => one.times.length)) return;
      this.symbol = 0;
      this.lines = [];   // what the legend says: name, colour, times, values, format
      this.styles = [];  // functions that set the colours
      this.addElements();
      this.chart = createChart(this.box, {
        autoSize: true,
        layout: {attributionLogo: false, panes: {enableResize: false}},
        localization: {locale: "en-US", timeFormatter: moment},
        timeScale: {minBarSpacing: 0.001, timeVisible: this.isShort(), secondsVisible: false,
          fixLeftEdge: true, fixRightEdge: true},
        rightPriceScale: {minimumWidth: 72},
        handleScroll: {vertTouchDrag: false},
        crosshair: {mode: 0},
      });
      this.addAccounts();
      this.addDrawdowns();
      this.addPrices();
      this.layOut();
      this.applyColours();
      this.chart.timeScale().fitContent();
      this.chart.subscribeCrosshairMove(event => this.showAt(event.time));
      this.chart.timeScale().subscribeVisibleTimeRangeChange(() => this.showOrders());
      this.showAt();
      this.showOrders();
      matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.applyColours());
      // A chart takes the width of the paper too late, so a picture of it is printed.
      addEventListener("beforeprint", () => this.addPicture());
      addEventListener("afterprint", () => this.section.querySelector(".paper")?.remove());
    }

    addPicture() {
      this.section.querySelector(".paper")?.remove();
      const picture = this.chart.takeScreenshot();
      picture.className = "paper";
      this.box.after(picture);
    }

    get times() { return this.data.accounts[0].times; }

    isShort() {
      const times = this.times;
      return times.some((time, at) => at && time - times[at - 1] < 86400);
    }

    addElements() {
      this.legend = make("ul", {class: "legend"});
      this.box = make("div", {class: "chart", role: "img", "aria-label": this.data.label});
      // The wheel scrolls the page; with Ctrl, or sideways, it is the chart's.
      this.box.addEventListener("wheel", event => {
        if (!event.ctrlKey && Math.abs(event.deltaX) <= Math.abs(event.deltaY)) event.stopPropagation();
      }, {capture: true});
      this.notice = make("p", {class: "muted", role: "status"});
      this.section.querySelector("h2").after(this.legend, this.box, this.tools(), this.notice);
      this.section.append(this.credit());
    }

    tools() {
      const row = make("div", {class: "row tools"});
      const button = (text, label, action) => {
        const made = make("button", {type: "button", class: "quiet", "aria-label": label}, text);
        made.addEventListener("click", () => {
          action();
          // The cursor stays where it is in time, and its height is another one.
          if (this.isPointing) requestAnimationFrame(() => this.point(Number(this.slider.value)));
        });
        row.append(made);
      };
      button("◀", "Earlier", () => this.move(-0.25, -0.25));
      button("▶", "Later", () => this.move(0.25, 0.25));
      button("+", "Zoom in", () => this.move(0.25, -0.25));
      button("−", "Zoom out", () => this.move(-0.5, 0.5));
      button("Whole period", "Whole period", () => this.chart.timeScale().fitContent());
      this.slider = make("input", {type: "range", min: 0, max: this.times.length - 1,
        value: this.times.length - 1, "aria-label": "Time of the values above"});
      this.slider.addEventListener("input", () => this.point(Number(this.slider.value)));
      this.box.addEventListener("pointermove", () => { this.isPointing = false; });
      row.append(this.slider);
      if (this.data.prices.length > 1) row.append(this.chooser());
      return row;
    }

    chooser() {
      const label = make("label", {}, "Price of ");
      const select = make("select");
      this.data.prices.forEach((one, at) => {
        const orders = one.orders.length ? ` (${one.orders.length} orders)` : "";
        select.append(make("option", {value: at}, one.symbol + orders));
      });
      select.addEventListener("change", () => {
        this.symbol = Number(select.value);
        this.fillPrices();
        this.showAt();
      });
      label.append(select);
      return label;
    }

    credit() {
      const line = make("p", {class: "muted"});
      const link = make("a", {href: "https://www.tradingview.com/", rel: "noreferrer"},
        "TradingView Lightweight Charts™");
      const small = make("small", {}, "Charts: ");
      small.append(link);
      line.append(small);
      return line;
    }

    // Move the ends of what is seen by shares of its length, within the period.
    move(left, right) {
      const scale = this.chart.timeScale();
      const range = scale.getVisibleLogicalRange();
      if (!range) return;
      const length = range.to - range.from;
      scale.setVisibleLogicalRange({from: range.from + left * length, to: range.to + right * length});
    }

    add(kind, pane, name, series, unit, style, hidden = HIDDEN_LINE) {
      const decimals = decimalsFor(series.values);
      const line = this.chart.addSeries(kind, {
        lineWidth: 2, priceLineVisible: false, lastValueVisible: false,
        baseValue: {type: "price", price: 0},
        priceFormat: {type: "custom", formatter: formatter(decimals, unit), minMove: 10 ** -decimals},
      }, pane);
      line.setData(points(series.times, series.values, hidden));
      this.lines.push({name, style, ...series, format: formatter(decimals, unit),
        unit: unit === "%" ? "" : unit});
      return line;
    }

    addAccounts() {
      const names = ["--accent", "--warn"];
      this.data.accounts.forEach((one, at) => {
        const series = {times: one.times, values: one.values};
        const line = this.add(LineSeries, 0, one.name, series, this.data.unit, names[at]);
        this.styles.push(() => line.applyOptions({color: colour(names[at])}));
        this.account ??= line;
      });
      const holding = this.data.holding;
      if (!holding) return;
      const line = this.add(LineSeries, 0, "Holding", holding, this.data.unit, "--muted");
      this.styles.push(() => line.applyOptions({color: colour("--muted"), lineWidth: 1}));
    }

    addDrawdowns() {
      const several = this.data.accounts.length > 1;
      const colours = several ? ["--accent", "--warn"] : ["--bad"];
      const toZero = original => {
        const found = original();
        if (found) found.priceRange.maxValue = 0;
        return found;
      };
      this.data.accounts.forEach((one, at) => {
        if (one.drawdowns.every(value => value === null)) return;
        const name = several ? `Drawdown of ${one.name}` : "Drawdown";
        const series = {times: one.times, values: one.drawdowns};
        const kind = several ? LineSeries : BaselineSeries;
        const hidden = several ? HIDDEN_LINE : HIDDEN_AREA;
        const line = this.add(kind, 1, name, series, "%", colours[at], hidden);
        line.applyOptions({autoscaleInfoProvider: toZero});
        this.styles.push(() => line.applyOptions(several ? {color: colour(colours[at])} : {
          bottomLineColor: colour("--bad"), topLineColor: colour("--bad"), lineWidth: 1,
          bottomFillColor1: faint("--bad"), bottomFillColor2: faint("--bad"),
        }));
      });
    }

    addPrices() {
      if (!this.data.prices.length) return;
      const first = this.data.prices[0];
      this.price = this.add(LineSeries, this.chart.panes().length, first.symbol, first, first.unit, "--text");
      this.priceLine = this.lines.at(-1);
      this.markers = createSeriesMarkers(this.price, []);
      this.styles.push(() => {
        this.price.applyOptions({color: colour("--text"), lineWidth: 1});
        this.showOrders();
      });
      this.fillPrices();
    }

    fillPrices() {
      const chosen = this.data.prices[this.symbol];
      const decimals = decimalsFor(chosen.values, PRICE_DIGITS);
      this.price.applyOptions({priceFormat:
        {type: "custom", formatter: formatter(decimals), minMove: 10 ** -decimals}});
      this.price.setData(points(chosen.times, chosen.values, HIDDEN_LINE));
      Object.assign(this.priceLine, {name: chosen.symbol, unit: chosen.unit, times: chosen.times,
        values: chosen.values, format: formatter(decimals)});
      this.showOrders();
    }

    // Draw the orders that are in sight, if they have room.
    showOrders() {
      if (!this.markers) return;
      const {orders, note, symbol} = this.data.prices[this.symbol];
      const range = this.chart.timeScale().getVisibleRange();
      const beside = range ? (range.to - range.from) / 100 : 0;  // bars that are seen in part
      const isSeen = ([time]) => !range || (range.from - beside <= time && time <= range.to + beside);
      const seen = orders.filter(isSeen);
      const most = Math.floor((this.box.clientWidth || 1000) / PIXELS_AN_ORDER);
      const fits = seen.length <= most;
      const good = colour("--good"), bad = colour("--bad");
      this.markers.setMarkers((fits ? seen : []).map(([time, side]) => side > 0
        ? {time, position: "belowBar", shape: "arrowUp", color: good}
        : {time, position: "aboveBar", shape: "arrowDown", color: bad}));
      const said = [note];
      if (orders.length) said.push(fits
        ? `▲ bought, ▼ sold ${symbol}.`
        : `${seen.length.toLocaleString("en-US")} orders of ${symbol} are in sight: zoom in to see them.`);
      const text = said.filter(Boolean).join(" ");
      if (this.notice.textContent !== text) this.notice.textContent = text;
    }

    // Put the cursor on one of the account's values, as a mouse would.
    point(at) {
      const {times, values} = this.data.accounts[0];
      this.isPointing = true;
      this.chart.setCrosshairPosition(values[at] ?? 0, times[at], this.account);
      this.showAt(times[at]);
    }

    // Say the values at a time, or the last ones.
    showAt(time) {
      const at = time === undefined ? this.times.length - 1 : placeOf(this.times, time);
      const shown = time ?? this.times[at];
      const items = [make("li", {class: "time"}, `${moment(shown)} UTC`)];
      for (const line of this.lines) {
        const place = placeOf(line.times, shown);
        const value = place < 0 ? null : line.values[place];
        const text = value === null ? DASH : `${line.format(value)} ${line.unit}`.trim();
        const item = make("li");
        item.append(make("span", {class: `key key${line.style}`}), `${line.name} `, make("b", {}, text));
        items.push(item);
      }
      if (time !== undefined) items.push(...this.ordersAt(shown));
      this.legend.replaceChildren(...items);
      if (at >= 0) this.slider.value = at;
      this.slider.setAttribute("aria-valuetext", items.map(item => item.textContent).join(", "));
    }

    ordersAt(time) {
      if (!this.markers) return [];
      const {orders, times, values} = this.data.prices[this.symbol];
      const before = times[placeOf(times, time) - 1] ?? -Infinity;
      const found = orders.filter(([when]) => before < when && when <= time);
      const format = formatter(decimalsFor(values, PRICE_DIGITS));
      const items = found.slice(0, MOST_ORDERS_SAID).map(([when, side, size, price]) => {
        const at = price === null ? "" : ` at ${format(price)}`;
        return make("li", {}, `${side > 0 ? "▲ bought" : "▼ sold"} ${size ?? DASH}${at}`);
      });
      const more = found.length - items.length;
      return more > 0 ? [...items, make("li", {}, `and ${more} more orders`)] : items;
    }

    layOut() {
      const panes = this.chart.panes();
      [3, 1.2, 2].forEach((share, at) => panes[at]?.setStretchFactor(share));
    }

    applyColours() {
      const line = colour("--line");
      this.chart.applyOptions({
        layout: {background: {color: colour("--page")}, textColor: colour("--text"),
          fontFamily: getComputedStyle(document.body).fontFamily, panes: {separatorColor: line}},
        grid: {vertLines: {color: line}, horzLines: {color: line}},
        timeScale: {borderColor: line}, rightPriceScale: {borderColor: line},
      });
      this.styles.forEach(style => style());
    }
  }

  const draw = () => {
    for (const section of document.querySelectorAll("[data-charts]:not([data-drawn])")) {
      section.setAttribute("data-drawn", "");
      try {
        new Charts(section);
      } catch (error) {
        section.append(make("p", {class: "warning"}, `The charts could not be drawn (${error.message}).`));
      }
    }
  };
  draw();
  // A page that is kept up to date may get charts later.
  new MutationObserver(draw).observe(document.body, {childList: true, subtree: true});
})();
