// Shows times in the reader's zone, counts down, and warns when the receiver no longer responds.
// Without it everything can still be read and acknowledged.
"use strict";

(() => {
  // Three polls and the timeout of one; a phone that slept this long shows an old state, too.
  const LOST_AFTER_MS = 15000;
  let offset = 0;
  let lastResponseAt = Date.now();
  let count = null;
  let openDetails = [];

  const serverNow = () => Date.now() + offset;
  const two = (n) => String(n).padStart(2, "0");
  const live = () => document.querySelector("#live");

  const showTime = (each) => {
    const at = new Date(each.dateTime);
    if (Number.isNaN(at.getTime())) return;
    const clock = { hour: "2-digit", minute: "2-digit", second: "2-digit" };
    const now = new Date(serverNow());
    const tomorrow = new Date(now.getFullYear(), now.getMonth(), now.getDate() + 1);
    const isTomorrow = at.toDateString() === tomorrow.toDateString();
    const isNear = isTomorrow || at.toDateString() === now.toDateString();
    const year = at.getFullYear() === now.getFullYear() ? {} : { year: "numeric" };
    const day = isNear ? {} : { ...year, month: "short", day: "numeric" };
    const words = (isTomorrow ? "tomorrow " : "") + at.toLocaleString(undefined, { ...day, ...clock });
    if (each.dataset.shown === "words" || /UTC$/.test(each.textContent.trim())) {
      each.textContent = words;
      each.dataset.shown = "words";
    } else {
      each.dataset.shown = "title";
    }
    each.title = words + " (" + each.dateTime + ")";
  };

  const showTimes = (which = ":not([data-shown])") => {
    document.querySelectorAll("time[datetime]:not(.countdown)" + which).forEach(showTime);
  };

  // After midnight `tomorrow` is wrong, while the page is still open.
  let shownOn = "";
  const showTimesOfNewDay = () => {
    const today = new Date(serverNow()).toDateString();
    if (shownOn && shownOn !== today) showTimes("");
    shownOn = today;
  };

  const formatCountdown = (seconds) => {
    const left = Math.max(0, Math.ceil(seconds));
    const [h, m, s] = [Math.floor(left / 3600), Math.floor(left / 60) % 60, left % 60];
    return h ? h + ":" + two(m) + ":" + two(s) : m + ":" + two(s);
  };

  const formatAge = (seconds) => {
    const minutes = Math.floor(seconds / 60);
    if (minutes < 1) return Math.max(0, Math.floor(seconds)) + "s";
    if (minutes < 60) return minutes + "m";
    if (minutes < 48 * 60) return Math.floor(minutes / 60) + "h " + (minutes % 60) + "m";
    return Math.floor(minutes / 1440) + "d " + Math.floor((minutes % 1440) / 60) + "h";
  };

  const formatAgo = (seconds) => {
    const whole = Math.max(0, Math.floor(seconds));
    if (whole < 60) return whole + " s ago";
    if (whole < 3600) return Math.floor(whole / 60) + " min ago";
    if (whole < 48 * 3600) return Math.floor(whole / 3600) + " h ago";
    return Math.floor(whole / 86400) + " d ago";
  };

  // Countdowns and ages stop, and are hidden, while the connection is lost: the state may have changed.
  const tick = () => {
    if (live() && Date.now() - lastResponseAt > LOST_AFTER_MS) showLostConnection();
    showTimesOfNewDay();
    if (document.body.classList.contains("lost")) return;
    for (const each of document.querySelectorAll("time.countdown")) {
      const left = (Date.parse(each.dataset.due) - serverNow()) / 1000;
      each.textContent = left > 0 ? "in " + formatCountdown(left) : "now";
    }
    for (const each of document.querySelectorAll(".age")) {
      each.textContent = "(" + formatAge((serverNow() - Date.parse(each.dataset.since)) / 1000) + ")";
    }
    for (const each of document.querySelectorAll("[data-webhook]")) {
      each.textContent = formatAgo((serverNow() - Date.parse(each.dateTime)) / 1000);
    }
  };

  const showLostConnection = () => {
    const banner = document.querySelector("#lost");
    if (!banner || !banner.hidden) return;
    banner.querySelector("[data-lost]").textContent = new Date(lastResponseAt).toLocaleTimeString();
    banner.hidden = false;
    document.body.classList.add("lost");
  };

  const handleResponse = (response) => {
    lastResponseAt = Date.now();
    const at = Number(response.getResponseHeader("X-Receiver-Now"));
    if (at) offset = at * 1000 - Date.now();
    document.querySelector("#lost").hidden = true;
    document.body.classList.remove("lost");
    // In the order of the page: with another source the ETag would differ. The web process that responded may
    // not know yet of a webhook that another one received.
    const webhooks = (response.getResponseHeader("X-Receiver-Webhooks") || "").split(",");
    document.querySelectorAll("[data-webhook]").forEach((each, n) => {
      if (webhooks[n] > each.dateTime) {
        each.dateTime = webhooks[n];
        delete each.dataset.shown;
        showTime(each);
      }
    });
    const asOf = document.querySelector("[data-asof]");
    if (asOf) asOf.textContent = new Date(serverNow()).toLocaleTimeString();
  };

  // Announce the count to screen readers only when it changes, not at each refresh.
  const announceCount = () => {
    const counts = document.querySelector("[data-count]");
    const status = document.querySelector("#heard");
    if (!counts || !status) return;
    if (count !== null && count !== counts.dataset.count) status.textContent = counts.firstChild.textContent;
    count = counts.dataset.count;
  };

  // Send the ETag of the shown content: the server answers 204 if nothing has changed.
  const addEtagHeader = (event) => {
    if (event.detail.elt === live()) event.detail.headers["X-Receiver-Stamp"] = live().dataset.stamp;
  };

  const saveOpenDetails = () => {
    openDetails = [...document.querySelectorAll("details[open][id]")].map((each) => each.id);
  };

  const afterSettle = () => {
    for (const id of openDetails) {
      const again = document.getElementById(id);
      if (again) again.open = true;
    }
    showTimes();
    tick();
    announceCount();
  };

  document.addEventListener("DOMContentLoaded", () => {
    const now = Number(document.body.dataset.now);
    if (now) offset = now * 1000 - Date.now();
    afterSettle();
    setInterval(tick, 1000);
    document.body.addEventListener("htmx:configRequest", addEtagHeader);
    document.body.addEventListener("htmx:beforeSwap", saveOpenDetails);
    document.body.addEventListener("htmx:afterRequest", (event) => {
      if (event.detail.successful) handleResponse(event.detail.xhr);
      else showLostConnection();
    });
    document.body.addEventListener("htmx:afterSettle", afterSettle);
  });
})();
