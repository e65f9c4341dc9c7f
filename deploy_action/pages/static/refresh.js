// Keeps the parts of a page that have `data-refresh` up to date, and says when it cannot. A part needs
// an id, and is there however little it holds: what has no place on the page cannot come to be there. One
// in which somebody works (an open question, a focused control) is left alone; what else was unfolded or
// chosen stays so. They come from this page, or from a smaller one that `data-refresh-from` names. Where
// a part is gone, another page has taken the place of this one, and is loaded.
"use strict";
(() => {
  const SECONDS = 5;
  const parts = () => [...document.querySelectorAll("[data-refresh][id]")];
  if (!parts().length) return;
  const small = document.querySelector("[data-refresh-from]");
  const address = small ? small.dataset.refreshFrom : location.href;
  const inUse = part =>
    part.contains(document.activeElement) || part.querySelector("details.confirm[open]");
  const unfolded = part => [...part.querySelectorAll("details[open]")].map(one => one.textContent);
  const choices = "input:not([type=hidden])";
  const keepChoices = (old, next) => {
    for (const one of old.querySelectorAll(choices)) {
      const same = [...next.querySelectorAll(choices)].filter(other => other.name === one.name);
      if (one.type === "radio") {
        const chosen = one.checked && !one.defaultChecked && same.find(other => other.value === one.value);
        if (chosen) chosen.checked = true;
      } else if (same.length && one.value !== one.defaultValue) same[0].value = one.value;
    }
    for (const one of old.querySelectorAll("select")) {
      const same = [...next.querySelectorAll("select")].find(other => other.name === one.name);
      const chosen = one.options[one.selectedIndex];
      if (same && chosen && !chosen.defaultSelected) same.value = chosen.value;
    }
  };
  const notice = document.createElement("p");
  notice.className = "warning stale hidden";
  notice.setAttribute("role", "status");
  document.querySelector("main").prepend(notice);
  let loaded = new Date();
  const time = date => date.toISOString().slice(11, 19);

  // A badge far below the notice must not tell an old state as if it were that of now.
  const mark = words => {
    for (const part of parts())
      for (const badge of part.querySelectorAll(".badge.state")) {
        if (words) badge.dataset.stale = words;
        else delete badge.dataset.stale;
      }
  };
  const stale = reason => {
    notice.textContent = `${reason} What you see is of ${time(loaded)}.`;
    notice.classList.remove("hidden");
    mark(` as of ${time(loaded)}`);
  };
  const refresh = async () => {
    let answer;
    try {
      answer = await fetch(address, {redirect: "manual", signal: AbortSignal.timeout(20000)});
    } catch {
      return stale("The server does not answer.");
    }
    if (answer.type === "opaqueredirect") return stale("You are signed out: load the page again.");
    if (!answer.ok) return stale(`The server answers with an error (${answer.status}).`);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of parts()) {
      if (!part.isConnected || inUse(part)) continue;  // one that was around it was renewed
      const next = fresh.getElementById(part.id);
      if (!next) return location.reload();
      if (next.innerHTML === part.innerHTML) continue;
      const scrolled = [...part.querySelectorAll(".scroll")].map(one => one.scrollLeft);
      const open = unfolded(part);
      for (const one of next.querySelectorAll("details"))
        if (open.includes(one.textContent)) one.open = true;
      part.replaceWith(next);
      keepChoices(part, next);
      next.querySelectorAll(".scroll").forEach((one, n) => (one.scrollLeft = scrolled[n] ?? 0));
    }
    loaded = new Date();
    notice.classList.add("hidden");
    mark("");
  };
  const loop = async () => {
    if (!document.hidden) await refresh();
    setTimeout(loop, SECONDS * 1000);
  };
  document.addEventListener("visibilitychange", () => document.hidden || refresh());
  setTimeout(loop, SECONDS * 1000);
})();
