// Unfolds what the address of a page leads to, when the page is loaded and when a link is followed.
"use strict";
(() => {
  const unfold = () => {
    const target = document.getElementById(location.hash.slice(1));
    if (!target) return;
    const folded = target.querySelector("details");
    if (folded) folded.open = true;
    target.scrollIntoView();
  };
  addEventListener("hashchange", unfold);
  unfold();
})();
