// What a page does by itself: moments in the reader's zone, count-downs, and a word when the
// connection is lost. Without it everything can still be read and acknowledged.
"use strict";

(() => {
  const LOST_AFTER_MS = 15000;
  const serverNow = () => Date.now() + offset;
  let offset = 0;
  let heardAt = Date.now();
  let count = null;

  const readClock = () => {
    const now = Number(document.body.dataset.now);
    if (now) offset = now * 1000 - Date.now();
  };

  const isSameDay = (a, b) => a.toDateString() === b.toDateString();

  // Moments come in UTC; who reads at night should not have to reckon.
  const showMoments = (root) => {
    const today = new Date(serverNow());
    for (const each of root.querySelectorAll("time[datetime]:not(.countdown):not([data-shown])")) {
      const at = new Date(each.dateTime);
      if (Number.isNaN(at.getTime())) continue;
      each.dataset.shown = "";
      const clock = { hour: "2-digit", minute: "2-digit", second: "2-digit" };
      const day = isSameDay(at, today) ? {} : { year: "numeric", month: "short", day: "numeric" };
      const words = at.toLocaleString(undefined, { ...day, ...clock });
      if (/UTC$/.test(each.textContent.trim())) each.textContent = words;
      each.title = words + " (" + each.dateTime + ")";
    }
  };

  const inWords = (seconds) => {
    const left = Math.max(0, Math.ceil(seconds));
    const two = (n) => String(n).padStart(2, "0");
    const [h, m, s] = [Math.floor(left / 3600), Math.floor(left / 60) % 60, left % 60];
    return h ? h + ":" + two(m) + ":" + two(s) : m + ":" + two(s);
  };

  const countDown = () => {
    if (document.body.classList.contains("lost")) return;
    for (const each of document.querySelectorAll("time.countdown")) {
      const left = (Date.parse(each.dataset.due) - serverNow()) / 1000;
      each.textContent = left > 0 ? "in " + inWords(left) : "now";
    }
  };

  const lose = () => {
    const said = document.querySelector("#lost");
    if (!said || !said.hidden) return;
    said.querySelector("[data-lost]").textContent = new Date(heardAt).toLocaleTimeString();
    said.hidden = false;
    document.body.classList.add("lost");
  };

  const hear = (answer) => {
    heardAt = Date.now();
    const at = answer && answer.getResponseHeader("X-Receiver-Now");
    if (at) offset = Number(at) * 1000 - Date.now();
    const said = document.querySelector("#lost");
    if (said) said.hidden = true;
    document.body.classList.remove("lost");
  };

  // Told to a screen reader only when it changes, not at each look.
  const tellCount = () => {
    const counts = document.querySelector("[data-count]");
    const heard = document.querySelector("#heard");
    if (!counts || !heard) return;
    if (count !== null && count !== counts.dataset.count) heard.textContent = counts.firstChild.textContent;
    count = counts.dataset.count;
  };

  const refresh = () => {
    showMoments(document);
    countDown();
    tellCount();
  };

  document.addEventListener("DOMContentLoaded", () => {
    readClock();
    refresh();
    const isLive = document.querySelector("#live") !== null;
    setInterval(() => {
      if (isLive && Date.now() - heardAt > LOST_AFTER_MS) lose();
      countDown();
    }, 1000);
    document.body.addEventListener("htmx:afterRequest", (event) => {
      if (event.detail.successful) hear(event.detail.xhr);
      else lose();
    });
    document.body.addEventListener("htmx:sendError", lose);
    document.body.addEventListener("htmx:timeout", lose);
    document.body.addEventListener("htmx:afterSettle", refresh);
  });
})();
