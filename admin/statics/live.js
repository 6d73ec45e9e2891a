// Live prices and news of alerts on pages that show them; without it pages show what is stored.
"use strict";

(() => {
  const address = document.currentScript.dataset.liveFrom;
  const prices = new Map();
  for (const cell of document.querySelectorAll("[data-live]")) {
    const channel = `quotes:${cell.dataset.live}`;
    prices.set(channel, [...(prices.get(channel) ?? []), cell]);
  }
  const badge = document.querySelector("[data-live-alerts]");
  // One connection has room for a hundred channels; a comma separates them.
  const quoted = [...prices.keys()].filter((name) => !name.includes(",")).slice(0, 99);
  const channels = [...quoted, ...(badge ? ["staff:alert_triggered"] : [])];
  const seen = new Set();
  let source = null;

  function told(event) {
    try {
      return JSON.parse(event.data);
    } catch {
      return {};
    }
  }

  function showQuote({ channel, data }) {
    const price = data?.last ?? data?.bid ?? data?.ask;
    for (const cell of (price && prices.get(channel)) || []) {
      cell.textContent = price;
      cell.title = said("live, %(time)s", { time: data.time });
      cell.classList.add("live");
      cell.classList.remove("lost");
    }
  }

  function countAlert(data) {
    if (!badge || !data?.event_id || seen.has(data.event_id)) return;
    seen.add(data.event_id);
    badge.textContent = seen.size === 1 ? said("1 new alert") : said("%(count)s new alerts", { count: seen.size });
    badge.hidden = false;
  }

  function update(event) {
    const message = told(event);
    if (message.channel?.startsWith("staff:")) countAlert(message.data);
    else showQuote(message);
  }

  // What is shown may be old: a snapshot or the next quote makes it live again.
  function lose() {
    for (const cell of document.querySelectorAll("[data-live].live")) {
      cell.classList.add("lost");
      cell.title = said("The last price that came; the connection is gone.");
    }
  }

  function open() {
    if (source || channels.length === 0 || document.hidden) return;
    source = new EventSource(`${address}?channels=${encodeURIComponent(channels.join(","))}`);
    source.addEventListener("snapshot", update);
    source.addEventListener("update", update);
    source.addEventListener("gap", lose);
    source.addEventListener("error", lose);
  }

  function close() {
    source?.close();
    source = null;
  }

  // A browser has six connections to a host: pages that nobody sees must not hold them.
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  addEventListener("pagehide", close);
  addEventListener("pageshow", open);
  open();
})();
