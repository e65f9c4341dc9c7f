// Follows a log: appends each line that the server sends, and says when it is cut off. While the reader
// looks at earlier lines, new ones wait.
"use strict";
(() => {
  const MOST_LINES = 5000, SILENT_MS = 60000, FIRST_PAUSE_MS = 1000, LONGEST_PAUSE_MS = 30000;
  const SIGNED_OUT = "you are signed out. Load the page again to sign in.";
  const log = document.getElementById("log");
  if (!log || !log.dataset.follow) return;
  const shown = log.querySelector(".lines");
  const notice = document.getElementById("log-notice");
  const newest = document.getElementById("log-newest");
  const streams = new Set(log.dataset.streams.split(" "));
  const address = new URL(log.dataset.follow, location.href);
  let day = [...shown.querySelectorAll(".day")].pop()?.textContent;
  let waiting = [], missed = 0, heardAt = new Date(), pause = FIRST_PAUSE_MS;

  const isAtEnd = () => Math.abs(log.scrollTop) < 8;  // the box begins at its end
  const element = (name, kind, text) => {
    const made = document.createElement(name);
    made.className = kind;
    made.textContent = text;
    return made;
  };
  const drawn = ({time, stream, text}) => {
    const line = element("div", `line ${stream}`, "");
    const when = element("time", "", time.slice(11, 19));
    when.dateTime = when.title = time;
    line.append(when, " ", element("span", "stream", stream), " ", element("span", "text", text));
    return line;
  };
  const say = text => {
    notice.textContent = text;
    notice.classList.toggle("hidden", !text);
  };
  const show = () => {
    for (const line of waiting) {
      if (line.time.slice(0, 10) !== day) {
        day = line.time.slice(0, 10);
        shown.append(element("div", "day", day));
      }
      shown.append(drawn(line));
    }
    waiting = [];
    while (shown.childElementCount > MOST_LINES) shown.firstElementChild.remove();
    newest.classList.add("hidden");
  };
  const settle = () => {
    if (!waiting.length) return;
    if (isAtEnd()) return show();
    const dropped = waiting.length - MOST_LINES;
    if (dropped > 0) { waiting.splice(0, dropped); missed += dropped; }
    newest.textContent = `${waiting.length + missed} new lines: jump to the newest`;
    newest.classList.remove("hidden");
  };
  const jump = () => {
    missed = 0;  // as many others push out all that is shown
    log.scrollTop = 0;
    show();
  };
  // `VERSION/PLACE TIME STREAM TEXT`, where PLACE is the one after the line.
  const read = text => {
    const found = /^(\S+\/\d+-\d+) (\S+Z) (out|err|platform) (.*)$/s.exec(text);
    if (!found) return;
    const [, position, time, stream, rest] = found;
    address.searchParams.set("after", position);
    if (streams.has(stream)) waiting.push({time, stream, text: rest});
  };
  const follow = async () => {
    const stop = new AbortController();
    let silence = setTimeout(() => stop.abort(), SILENT_MS);
    const answer = await fetch(address, {redirect: "manual", signal: stop.signal});
    if (answer.type === "opaqueredirect") return SIGNED_OUT;
    if (answer.status === 503) return "too many others follow a log.";
    if (!answer.ok) return `the server answers with an error (${answer.status}).`;
    const text = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const {value, done} = await text.read();
      if (done) return "the server ended the connection.";
      clearTimeout(silence);
      silence = setTimeout(() => stop.abort(), SILENT_MS);
      say("");
      heardAt = new Date();
      pause = FIRST_PAUSE_MS;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      lines.forEach(read);
      settle();
    }
  };
  const loop = async () => {
    let reason;
    try {
      reason = await follow();
    } catch {
      reason = "the server cannot be reached.";
    }
    const since = heardAt.toISOString().slice(11, 19);
    if (reason === SIGNED_OUT) return say(`No new lines since ${since} UTC: ${reason}`);
    // A connection that ends is begun again at once: only what lasts is worth a word.
    if (pause > FIRST_PAUSE_MS) {
      say(`No new lines since ${since} UTC: ${reason} The next try is in ${pause / 1000} s.`);
    }
    setTimeout(loop, pause);
    pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
  };
  log.addEventListener("scroll", () => isAtEnd() && show());
  newest.addEventListener("click", jump);
  loop();
})();
