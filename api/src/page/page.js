// What the pages do beyond what the server wrote: local times, charts, refresh in place, buttons, queries.
// No framework, nothing loaded from elsewhere, no inline code (the content security policy forbids it).
"use strict";
(() => {
  const root = document.documentElement;
  const tenant = root.dataset.tenant || "default";
  const REFRESH_MS = 10000;
  const SVG = "http://www.w3.org/2000/svg";

  // ---- asking the server

  async function ask(url, options = {}) {
    const headers = { "X-Scope-OrgID": tenant, ...(options.headers || {}) };
    const response = await fetch(url, { ...options, headers });
    if (response.ok) return response;
    let text = `HTTP ${response.status}`;
    try {
      const said = await response.json();
      text = said.error || [said.detail, said.hint].filter(Boolean).join("\n") || text;
    } catch (_) { /* no JSON: the status has to do */ }
    throw new Error(text);
  }

  async function promql(path, parameters, signal) {
    const body = new URLSearchParams(parameters);
    const response = await ask(path, { method: "POST", body, signal });
    return response.json();
  }

  // ---- numbers and times as people read them

  const scales = {
    ratio: (v) => `${trim(v * 100, Math.abs(v) < 0.1 ? 1 : 0)} %`,
    percent: (v) => `${trim(v, Math.abs(v) < 10 ? 1 : 0)} %`,
    bytes: (v) => prefixed(v, 1024, ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]),
    "bytes/s": (v) => prefixed(v, 1000, ["B/s", "kB/s", "MB/s", "GB/s", "TB/s"]),
    seconds: (v) => duration(v),
    celsius: (v) => `${trim(v, 1)} °C`,
    watts: (v) => `${trim(v, 0)} W`,
    megahertz: (v) => `${trim(v, 0)} MHz`,
    "": (v) => plain(v),
  };
  const trim = (v, digits) => String(Number(v.toFixed(digits)));
  function plain(v) {
    const size = Math.abs(v);
    if (!Number.isFinite(v)) return String(v);
    if (size !== 0 && (size < 1e-4 || size >= 1e15)) return v.toExponential(2);
    if (size >= 10000) return prefixed(v, 1000, ["", "k", "M", "G", "T"]).trim();
    return String(Number(v.toPrecision(4)));
  }
  function prefixed(v, base, names) {
    let i = 0;
    while (Math.abs(v) >= base && i < names.length - 1) { v /= base; i += 1; }
    return `${trim(v, Math.abs(v) < 10 && i > 0 ? 1 : 0)} ${names[i]}`;
  }
  function duration(s) {
    const size = Math.abs(s);
    if (size === 0) return "0 s";
    if (size < 1e-3) return `${trim(s * 1e6, 0)} µs`;
    if (size < 1) return `${trim(s * 1e3, size < 0.01 ? 1 : 0)} ms`;
    if (size < 120) return `${trim(s, size < 10 ? 1 : 0)} s`;
    if (size < 7200) return `${trim(s / 60, 0)} min`;
    if (size < 172800) return `${trim(s / 3600, 1)} h`;
    return `${trim(s / 86400, 1)} d`;
  }
  const shown = (v, unit) => (scales[unit] || scales[""])(v);

  const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const clockSeconds = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
  const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });
  function moment(at, kind) {
    const time = (kind === "seconds" ? clockSeconds : clock).format(at);
    return kind !== "dated" && at.toDateString() === new Date().toDateString() ? time : `${day.format(at)}, ${time}`;
  }
  // The server writes UTC, for those without scripts and for the tooltip; here it becomes the viewer's zone.
  function localTimes(within) {
    for (const node of within.querySelectorAll("time[datetime]")) {
      const at = new Date(node.dateTime);
      if (Number.isNaN(at.getTime()) || node.dataset.kind === "ago") continue;
      const text = moment(at, node.dataset.kind);
      if (node.textContent !== text) node.textContent = text;
    }
  }

  // ---- refresh in place: the new page's nodes are laid over the old ones, so nothing flickers and focus stays

  function morph(old, fresh) {
    if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) {
      old.replaceWith(document.importNode(fresh, true));
      return;
    }
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    const isChart = old.classList.contains("chart");
    for (const { name, value } of [...fresh.attributes]) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
    }
    // What the viewer typed or a chart drew is not the server's to replace.
    if (isChart || old.hasAttribute("data-keep") || old.contains(document.activeElement) && old.matches("form")) return;
    if (old.nodeName === "TIME") {
      if (old.dataset.kind === "ago") old.textContent = fresh.textContent;
      return;
    }
    const before = [...old.childNodes];
    const after = [...fresh.childNodes];
    // Rows and items with a key are matched by it, the others by their place.
    const keyed = new Map(before.filter((n) => n.dataset && n.dataset.key).map((n) => [n.dataset.key, n]));
    if (keyed.size > 0) {
      let place = old.firstChild;
      const kept = new Set();
      for (const node of after) {
        const match = node.dataset && node.dataset.key ? keyed.get(node.dataset.key) : null;
        if (match) {
          kept.add(match);
          if (match !== place) old.insertBefore(match, place); else place = place.nextSibling;
          morph(match, node);
        } else {
          const added = document.importNode(node, true);
          kept.add(added);
          old.insertBefore(added, place);
        }
      }
      for (const node of [...old.childNodes]) if (!kept.has(node)) node.remove();
      return;
    }
    after.forEach((node, i) => {
      if (i < before.length) morph(before[i], node);
      else old.appendChild(document.importNode(node, true));
    });
    before.slice(after.length).forEach((node) => node.remove());
  }

  let lost = null;
  function setLost(text) {
    if (!text) { if (lost) lost.remove(); lost = null; return; }
    if (!lost) {
      lost = document.createElement("div");
      lost.className = "lost";
      lost.setAttribute("role", "status");
      document.body.appendChild(lost);
    }
    lost.textContent = text;
  }

  let refreshing = false;
  async function refresh() {
    if (refreshing || document.hidden) return;
    refreshing = true;
    try {
      const response = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (!response.ok) throw new Error(`the server answered ${response.status}`);
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      document.title = page.title;
      for (const part of document.querySelectorAll("[data-live]")) {
        const fresh = page.getElementById(part.id);
        if (fresh) morph(part, fresh);
      }
      localTimes(document);
      startCharts();
      setLost(null);
    } catch (error) {
      setLost(error instanceof TypeError ? "No connection to the server. Trying again." : `Cannot refresh: ${error.message}`);
    } finally {
      refreshing = false;
    }
  }

  // ---- charts

  const el = (name, attributes = {}, parent = null, text = null) => {
    const node = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== null) node.textContent = text;
    if (parent) parent.appendChild(node);
    return node;
  };
  const html = (name, className, parent, text) => {
    const node = document.createElement(name);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text;
    if (parent) parent.appendChild(node);
    return node;
  };

  function niceTicks(low, high, count, base) {
    const span = high - low || 1;
    const power = base === 1024 ? 2 ** Math.floor(Math.log2(span / count)) : 10 ** Math.floor(Math.log10(span / count));
    const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => span / s <= count) || 10 * power;
    const ticks = [];
    for (let v = Math.ceil(low / step - 1e-9) * step; v <= high + step * 1e-6; v += step) ticks.push(Math.abs(v) < step * 1e-9 ? 0 : v);
    return ticks;
  }
  function timeTicks(start, end, count) {
    const steps = [60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800];
    const step = steps.find((s) => (end - start) / s <= count) || 604800;
    const offset = new Date(start * 1000).getTimezoneOffset() * 60;
    const ticks = [];
    for (let t = Math.ceil((start - offset) / step) * step + offset; t <= end; t += step) ticks.push(t);
    return { ticks, step };
  }
  function niceStep(seconds) {
    return [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 86400].find((s) => s >= seconds) || Math.ceil(seconds / 86400) * 86400;
  }

  function nameOf(metric, label) {
    if (label) return label.replace(/\{\{\s*([\w.]+)\s*\}\}/g, (_, name) => metric[name] || "").trim() || "value";
    const { __name__: name, ...labels } = metric;
    const rest = Object.entries(labels).map(([k, v]) => `${k}="${v}"`).join(", ");
    return (name || "") + (rest ? `{${rest}}` : "") || "value";
  }

  const LINES_MAX = 8;
  const charts = new Map();

  class Chart {
    constructor(node) {
      this.node = node;
      this.legend = html("div", "legend", node);
      this.plot = html("div", "plot", node);
      this.note = html("div", "note", this.plot, "Loading…");
      this.lines = null;
      this.loadedAt = 0;
      this.visible = false;
      this.at = null;
      new ResizeObserver(() => this.draw()).observe(this.plot);
      new IntersectionObserver(([entry]) => {
        this.visible = entry.isIntersecting;
        this.load();
      }, { rootMargin: "200px" }).observe(node);
    }

    window() {
      const range = Number(this.node.dataset.range || 3600);
      const end = Number(this.node.dataset.end || 0) || Date.now() / 1000;
      const width = this.plot.clientWidth || 340;
      const step = niceStep(Math.max(range / Math.max(width / 2, 60), 5));
      // Aligned to the step, so that a refresh moves no point and the server's cache can answer.
      const aligned = Math.floor(end / step) * step;
      return { start: aligned - Math.ceil(range / step) * step, end: aligned, step };
    }

    async load(force = false) {
      const { start, end, step } = this.window();
      const key = `${this.node.dataset.queries}|${start}|${end}|${step}`;
      if (!this.visible || (!force && key === this.key)) return;
      this.key = key;
      if (this.abort) this.abort.abort();
      this.abort = new AbortController();
      try {
        const queries = JSON.parse(this.node.dataset.queries || "[]");
        const answers = await Promise.all(queries.map((q) =>
          promql("/api/v1/query_range", { query: q.q, start, end, step }, this.abort.signal)));
        this.lines = answers.flatMap((answer, i) => answer.data.result.map((series) => ({
          name: nameOf(series.metric, queries[i].label),
          points: (series.values || []).map(([t, v]) => [t, Number(v === "+Inf" ? "Infinity" : v === "-Inf" ? "-Infinity" : v)]),
        }))).filter((line) => line.points.length > 0);
        this.total = this.lines.length;
        // Beyond eight colours nobody can tell them apart: those that reach highest stay.
        if (this.lines.length > LINES_MAX) {
          const top = (line) => line.points.reduce((m, [, v]) => (Number.isFinite(v) && Math.abs(v) > m ? Math.abs(v) : m), 0);
          this.lines = this.lines.map((l) => [top(l), l]).sort((a, b) => b[0] - a[0]).slice(0, LINES_MAX).map(([, l]) => l);
        }
        this.span = { start, end, step };
        this.error = null;
      } catch (error) {
        if (error.name === "AbortError") return;
        this.error = error.message;
        this.key = null;
      }
      this.draw();
    }

    draw() {
      const say = (text) => { this.note.textContent = text; this.note.hidden = !text; this.note.classList.toggle("hidden", !text); };
      if (this.error) { say(this.error); return; }
      if (!this.lines) return;
      if (this.svg) this.svg.remove();
      this.legend.replaceChildren();
      if (this.lines.length === 0) { say(this.node.dataset.empty || "No data in this time"); return; }
      say("");
      const unit = this.node.dataset.unit || "";
      const width = this.plot.clientWidth, height = this.plot.clientHeight;
      if (width < 40) return;
      const values = this.lines.flatMap((l) => l.points.map((p) => p[1])).filter(Number.isFinite);
      let low = this.node.dataset.min !== undefined ? Number(this.node.dataset.min) : Math.min(...spread(values));
      let high = Math.max(...spread(values));
      if (this.node.dataset.max !== undefined) high = Math.max(high, Number(this.node.dataset.max));
      else high += (high - low) * 0.06;
      if (this.node.dataset.min === undefined && low > 0 && low < high * 0.5) low = 0;
      if (!(high > low)) { const pad = Math.abs(high) * 0.1 || 1; high += pad; if (low !== 0) low -= pad; }
      const ticksY = niceTicks(low, high, Math.max(2, Math.floor(height / 45)), unit === "bytes" ? 1024 : 10);
      const labels = ticksY.map((v) => shown(v, unit));
      const left = Math.max(...labels.map((l) => l.length)) * 6.1 + 10;
      const right = 6, top = 8, bottom = 20;
      const { start, end, step } = this.span;
      const x = (t) => left + ((t - start) / (end - start)) * (width - left - right);
      const y = (v) => height - bottom - ((v - low) / (high - low)) * (height - top - bottom);
      const svg = this.svg = el("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", tabindex: "0" });
      const clipped = (t) => Math.min(Math.max(t, start), end);
      for (const band of this.bands("bands")) {
        if (band.end !== null && band.end < start || band.start > end) continue;
        const from = x(clipped(band.start)), to = x(clipped(band.end === null ? end : band.end));
        el("title", {}, el("rect", { class: "band", x: from, y: top, width: Math.max(to - from, 2), height: height - top - bottom }, svg), band.label);
      }
      ticksY.forEach((v, i) => {
        el("line", { class: "gridline", x1: left, x2: width - right, y1: y(v), y2: y(v) }, svg);
        el("text", { x: left - 6, y: y(v) + 3.5, "text-anchor": "end" }, svg, labels[i]);
      });
      el("line", { class: "axis", x1: left, x2: width - right, y1: height - bottom, y2: height - bottom }, svg);
      const { ticks, step: tickStep } = timeTicks(start, end, Math.max(2, Math.floor((width - left) / 75)));
      for (const t of ticks) {
        const at = new Date(t * 1000);
        const text = tickStep >= 86400 || (tickStep >= 3600 && at.getHours() === 0 && at.getMinutes() === 0) ? day.format(at) : clock.format(at);
        const anchor = x(t) < left + 18 ? "start" : x(t) > width - 22 ? "end" : "middle";
        el("text", { x: x(t), y: height - 5, "text-anchor": anchor }, svg, text);
      }
      for (const mark of this.bands("marks")) {
        if (mark.start < start || mark.start > end) continue;
        el("title", {}, el("line", { class: "mark", x1: x(mark.start), x2: x(mark.start), y1: top, y2: height - bottom }, svg), mark.label);
      }
      const threshold = Number(this.node.dataset.threshold);
      if (this.node.dataset.threshold !== undefined && threshold >= low && threshold <= high) {
        el("title", {}, el("line", { class: "mark", x1: left, x2: width - right, y1: y(threshold), y2: y(threshold) }, svg), "alert threshold");
      }
      this.lines.forEach((line, i) => {
        let path = "", previous = null, first = null, area = "";
        for (const [t, v] of line.points) {
          if (!Number.isFinite(v)) { previous = null; continue; }
          const joined = previous !== null && t - previous <= step * 1.5;
          if (!joined && first !== null) { area += `L${x(previous ?? t)},${y(Math.max(low, 0))}Z`; first = null; }
          const at = `${x(t).toFixed(1)},${y(v).toFixed(1)}`;
          path += joined ? `L${at}` : `M${at}h0.01`;
          area += first === null ? `M${x(t).toFixed(1)},${y(Math.max(low, 0)).toFixed(1)}L${at}` : `L${at}`;
          first = first ?? t;
          previous = t;
        }
        if (first !== null && previous !== null) area += `L${x(previous).toFixed(1)},${y(Math.max(low, 0)).toFixed(1)}Z`;
        if (this.lines.length === 1 && low <= 0) el("path", { class: `area s${i}`, d: area }, svg);
        el("path", { class: `line s${i}`, d: path }, svg);
        const last = line.points[line.points.length - 1][1];
        const entry = html("span", `s${i}`, this.legend);
        entry.title = line.name;
        html("i", "", entry);
        entry.append(line.name);
        html("b", "", entry, shown(last, unit));
      });
      if (this.total > this.lines.length) html("span", "", this.legend, `and ${this.total - this.lines.length} more`);
      svg.setAttribute("aria-label", `${this.node.dataset.title || "Chart"}: ` +
        this.lines.map((l) => `${l.name} ${shown(l.points[l.points.length - 1][1], unit)}`).join(", "));
      const cross = el("line", { class: "cross hidden", y1: top, y2: height - bottom }, svg);
      const grid = [...new Set(this.lines.flatMap((l) => l.points.map((p) => p[0])))].sort((a, b) => a - b);
      const point = (t) => {
        if (this.tip) { this.tip.remove(); this.tip = null; }
        if (t === null || grid.length === 0) { cross.classList.add("hidden"); this.at = null; return; }
        const at = grid.reduce((best, g) => (Math.abs(g - t) < Math.abs(best - t) ? g : best), grid[0]);
        this.at = at;
        cross.classList.remove("hidden");
        cross.setAttribute("x1", x(at));
        cross.setAttribute("x2", x(at));
        const tip = this.tip = html("div", "tip", this.plot);
        html("div", "muted", tip, moment(new Date(at * 1000), step < 60 ? "seconds" : ""));
        this.lines.forEach((line, i) => {
          const here = line.points.find((p) => p[0] === at);
          if (!here) return;
          const row = html("div", `s${i}`, tip);
          const name = html("span", "", row);
          html("i", "", name);
          name.append(line.name);
          html("b", "", row, shown(here[1], unit));
        });
        const room = width - tip.offsetWidth - 4;
        tip.style.left = `${Math.max(0, Math.min(x(at) + 10 + tip.offsetWidth > width ? x(at) - tip.offsetWidth - 10 : x(at) + 10, room))}px`;
      };
      const timeAt = (event) => start + ((event.clientX - svg.getBoundingClientRect().left - left) / (width - left - right)) * (end - start);
      svg.addEventListener("pointermove", (event) => point(timeAt(event)));
      svg.addEventListener("pointerdown", (event) => point(timeAt(event)));
      svg.addEventListener("pointerleave", () => point(null));
      svg.addEventListener("blur", () => point(null));
      svg.addEventListener("keydown", (event) => {
        const move = { ArrowLeft: -step, ArrowRight: step, Home: -Infinity, End: Infinity }[event.key];
        if (event.key === "Escape") point(null);
        if (move === undefined) return;
        event.preventDefault();
        const from = this.at ?? (move > 0 ? start : end);
        point(Number.isFinite(move) ? from + move : move > 0 ? end : start);
      });
      this.plot.appendChild(svg);
    }

    bands(kind) {
      const holder = this.node.closest(`[data-${kind}]`);
      try { return holder ? JSON.parse(holder.dataset[kind]) : []; } catch (_) { return []; }
    }
  }
  // Math.min(...values) overflows the stack beyond some 100,000 values; two suffice.
  function spread(values) {
    let low = Infinity, high = -Infinity;
    for (const v of values) { if (v < low) low = v; if (v > high) high = v; }
    return values.length ? [low, high] : [0, 1];
  }

  function startCharts() {
    for (const node of document.querySelectorAll(".chart[data-queries]")) {
      if (charts.has(node)) charts.get(node).load();
      else charts.set(node, new Chart(node));
    }
    for (const node of [...charts.keys()]) if (!node.isConnected) charts.delete(node);
  }

  // ---- buttons and forms that change something

  async function act(node, method, url, body) {
    const buttons = node.matches("form") ? node.querySelectorAll("button") : [node];
    buttons.forEach((b) => { b.disabled = true; });
    try {
      await ask(url, { method, headers: body ? { "Content-Type": "application/json" } : {}, body: body ? JSON.stringify(body) : undefined });
      if (node.matches("form")) { node.reset(); const details = node.closest("details"); if (details) details.open = false; }
      if (document.activeElement) document.activeElement.blur();
      await refresh();
    } catch (error) {
      setLost(error.message);
      setTimeout(() => setLost(null), 8000);
    } finally {
      buttons.forEach((b) => { b.disabled = false; });
    }
  }
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-url]");
    if (!button) return;
    event.preventDefault();
    if (button.dataset.confirm && !window.confirm(button.dataset.confirm)) return;
    act(button, button.dataset.method || "POST", button.dataset.url, button.dataset.body ? JSON.parse(button.dataset.body) : null);
  });
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!form.dataset.url) return;
    event.preventDefault();
    const body = { ...JSON.parse(form.dataset.body || "{}") };
    for (const [name, value] of new FormData(form)) if (value !== "") body[name] = value;
    act(form, form.dataset.method || "POST", form.dataset.url, body);
  });

  // ---- explore

  function table(parent, columns, rows) {
    const outer = html("div", "result scroll", parent);
    const node = html("table", "", outer);
    const head = html("tr", "", html("thead", "", node));
    for (const column of columns) {
      const cell = html("th", column.number ? "number" : "", head, column.name);
      cell.scope = "col";
      if (column.type) cell.title = column.type;
    }
    const body = html("tbody", "", node);
    for (const row of rows) {
      const line = html("tr", "", body);
      row.forEach((value, i) => html("td", columns[i].number ? "number" : "", line, value === null || value === undefined ? "" : String(value)));
    }
    outer.tabIndex = 0;
  }

  // A sample in a cell: a number, or in a word what a native histogram counted.
  const sampleText = ([, held]) => (typeof held === "object" ? `${held.count} observations, sum ${held.sum}` : held);

  // What a series of an answer holds: one sample, or many, numbers and histograms beside each other, of which the newest is told.
  function held(series) {
    const one = series.value || series.histogram;
    if (one) return sampleText(one);
    const many = [...(series.values || []), ...(series.histograms || [])].sort((a, b) => a[0] - b[0]);
    return many.length === 0 ? "no samples" : `${many.length} samples, last ${sampleText(many[many.length - 1])}`;
  }

  async function explore() {
    const output = document.getElementById("answer");
    if (!output) return;
    const { language, query, range } = output.dataset;
    if (!query) return;
    const begun = performance.now();
    const status = document.getElementById("took");
    try {
      if (language === "sql") {
        const response = await ask("/api/v1/sql", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ query }) });
        const answer = await response.json();
        output.replaceChildren();
        const columns = answer.columns.map((c) => ({ ...c, number: /^(U?Int|Float|Decimal)/.test(c.type) }));
        if (answer.rows.length === 0) html("p", "empty", output, "The query is valid and answers no rows.");
        else table(output, columns, answer.rows.slice(0, 2000).map((row) => columns.map((c) => (typeof row[c.name] === "object" && row[c.name] !== null ? JSON.stringify(row[c.name]) : row[c.name]))));
        const more = answer.truncated ? `, cut off at ${answer.rows.length}` : answer.rows.length > 2000 ? ", the first 2000 shown" : "";
        status.textContent = `${answer.rows.length} rows${more} in ${duration((performance.now() - begun) / 1000)}`;
      } else {
        const answer = await promql("/api/v1/query", { query });
        output.replaceChildren();
        const { resultType, result } = answer.data;
        for (const text of [...(answer.warnings || []), ...(answer.infos || [])]) html("p", "muted small", output, text);
        if (resultType === "vector" || resultType === "matrix") {
          const rows = result.slice(0, 1000).map((r) => [nameOf(r.metric), held(r)]);
          if (rows.length === 0) html("p", "empty", output, "The query is valid and answers no series at this time.");
          else table(output, [{ name: "series" }, { name: "value", number: true }], rows);
          status.textContent = `${result.length} series in ${duration((performance.now() - begun) / 1000)}${result.length > 1000 ? ", the first 1000 shown" : ""}`;
        } else {
          table(output, [{ name: resultType }], [[result[1]]]);
          status.textContent = `in ${duration((performance.now() - begun) / 1000)}`;
        }
        const chart = document.getElementById("graph");
        // A histogram has no line.
        if (chart && resultType === "vector" && (result.length === 0 || result.some((r) => r.value))) { chart.dataset.range = range; chart.dataset.queries = JSON.stringify([{ q: query }]); chart.classList.remove("hidden"); startCharts(); }
      }
    } catch (error) {
      output.replaceChildren();
      html("p", "error", output, error.message).setAttribute("role", "alert");
      status.textContent = "";
    }
  }
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.matches("textarea")) event.target.form.requestSubmit();
  });

  // ---- start

  localTimes(document);
  startCharts();
  explore();
  if (document.querySelector("[data-live]")) {
    setInterval(refresh, REFRESH_MS);
    document.addEventListener("visibilitychange", refresh);
  }
})();
