// What a page does by itself: moments in the reader's zone, count-downs, and a word when nothing is
// heard any more. Without it everything can still be read and acknowledged.
"use strict";

(() => {
  // Three looks at their time-out's end; a phone that slept this long shows what is old, too.
  const LOST_AFTER_MS = 15000;
  let offset = 0;
  let heardAt = Date.now();
  let count = null;
  let unfolded = [];

  const serverNow = () => Date.now() + offset;
  const two = (n) => String(n).padStart(2, "0");
  const live = () => document.querySelector("#live");

  // Moments come in UTC; who reads at night should not have to reckon.
  const showMoment = (each) => {
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

  const showMoments = (which = ":not([data-shown])") => {
    document.querySelectorAll("time[datetime]:not(.countdown)" + which).forEach(showMoment);
  };

  // What was tomorrow is today after midnight, while the page is still open.
  let shownOn = "";
  const showMomentsOfNewDay = () => {
    const today = new Date(serverNow()).toDateString();
    if (shownOn && shownOn !== today) showMoments("");
    shownOn = today;
  };

  const inWords = (seconds) => {
    const left = Math.max(0, Math.ceil(seconds));
    const [h, m, s] = [Math.floor(left / 3600), Math.floor(left / 60) % 60, left % 60];
    return h ? h + ":" + two(m) + ":" + two(s) : m + ":" + two(s);
  };

  const ageInWords = (seconds) => {
    const minutes = Math.floor(seconds / 60);
    if (minutes < 1) return Math.max(0, Math.floor(seconds)) + "s";
    if (minutes < 60) return minutes + "m";
    if (minutes < 48 * 60) return Math.floor(minutes / 60) + "h " + (minutes % 60) + "m";
    return Math.floor(minutes / 1440) + "d " + Math.floor((minutes % 1440) / 60) + "h";
  };

  const agoInWords = (seconds) => {
    const whole = Math.max(0, Math.floor(seconds));
    if (whole < 60) return whole + " s ago";
    if (whole < 3600) return Math.floor(whole / 60) + " min ago";
    if (whole < 48 * 3600) return Math.floor(whole / 3600) + " h ago";
    return Math.floor(whole / 86400) + " d ago";
  };

  // What is counted from a state that may be over would be a lie, so it stops (and is hidden) while lost.
  const tick = () => {
    if (live() && Date.now() - heardAt > LOST_AFTER_MS) lose();
    showMomentsOfNewDay();
    if (document.body.classList.contains("lost")) return;
    for (const each of document.querySelectorAll("time.countdown")) {
      const left = (Date.parse(each.dataset.due) - serverNow()) / 1000;
      each.textContent = left > 0 ? "in " + inWords(left) : "now";
    }
    for (const each of document.querySelectorAll(".age")) {
      each.textContent = "(" + ageInWords((serverNow() - Date.parse(each.dataset.since)) / 1000) + ")";
    }
    for (const each of document.querySelectorAll("[data-webhook]")) {
      each.textContent = agoInWords((serverNow() - Date.parse(each.dateTime)) / 1000);
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
    const at = Number(answer.getResponseHeader("X-Receiver-Now"));
    if (at) offset = at * 1000 - Date.now();
    document.querySelector("#lost").hidden = true;
    document.body.classList.remove("lost");
    // In the order of the page: another source would have another stamp, and so the whole page. A web process
    // may not know yet what another has told us.
    const webhooks = (answer.getResponseHeader("X-Receiver-Webhooks") || "").split(",");
    document.querySelectorAll("[data-webhook]").forEach((each, n) => {
      if (webhooks[n] > each.dateTime) {
        each.dateTime = webhooks[n];
        delete each.dataset.shown;
        showMoment(each);
      }
    });
    const asOf = document.querySelector("[data-asof]");
    if (asOf) asOf.textContent = new Date(serverNow()).toLocaleTimeString();
  };

  // Announce the count to screen readers only when it changes, not at each refresh.
  const tellCount = () => {
    const counts = document.querySelector("[data-count]");
    const heard = document.querySelector("#heard");
    if (!counts || !heard) return;
    if (count !== null && count !== counts.dataset.count) heard.textContent = counts.firstChild.textContent;
    count = counts.dataset.count;
  };

  // Send the ETag of the shown content: the server answers 204 if nothing has changed.
  const askWithStamp = (event) => {
    if (event.detail.elt === live()) event.detail.headers["X-Receiver-Stamp"] = live().dataset.stamp;
  };

  const rememberUnfolded = () => {
    unfolded = [...document.querySelectorAll("details[open][id]")].map((each) => each.id);
  };

  const afterSettle = () => {
    for (const id of unfolded) {
      const again = document.getElementById(id);
      if (again) again.open = true;
    }
    showMoments();
    tick();
    tellCount();
  };

  document.addEventListener("DOMContentLoaded", () => {
    const now = Number(document.body.dataset.now);
    if (now) offset = now * 1000 - Date.now();
    afterSettle();
    setInterval(tick, 1000);
    document.body.addEventListener("htmx:configRequest", askWithStamp);
    document.body.addEventListener("htmx:beforeSwap", rememberUnfolded);
    document.body.addEventListener("htmx:afterRequest", (event) => {
      if (event.detail.successful) hear(event.detail.xhr);
      else lose();
    });
    document.body.addEventListener("htmx:afterSettle", afterSettle);
  });
})();
