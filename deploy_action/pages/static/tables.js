// Lets a reader sort tables with `data-sortable` by any column: a page on a disk has no server for that.
// A cell is sorted by its `data-value`, else by its text, as a number if all of the column are numbers.
"use strict";
(() => {
  const BLANK = new Set(["", "–"]);
  const asNumber = text => Number(text.replaceAll(",", "").replace("−", "-").replace(/^\+|%$/g, ""));
  const textOf = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.value ?? cell.textContent.trim();
  };

  const sort = (table, column, isDescending) => {
    const body = table.tBodies[0];
    const rows = [...body.rows].map(row => ({row, text: textOf(row, column)}));
    const areNumbers = rows.every(({text}) => BLANK.has(text) || !Number.isNaN(asNumber(text)));
    const key = areNumbers ? ({text}) => asNumber(text) : ({text}) => text;
    // What has no value is last in both directions.
    const known = rows.filter(({text}) => !BLANK.has(text)).map(one => ({...one, key: key(one)}));
    const unknown = rows.filter(({text}) => BLANK.has(text));
    known.sort((one, other) => one.key < other.key ? -1 : one.key > other.key ? 1 : 0);
    if (isDescending) known.reverse();
    body.replaceChildren(...[...known, ...unknown].map(({row}) => row));
  };

  for (const table of document.querySelectorAll("table[data-sortable]")) {
    const headers = [...table.tHead.rows[0].cells];
    headers.forEach((header, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...header.childNodes);
      header.append(button);
      button.addEventListener("click", () => {
        const isDescending = header.getAttribute("aria-sort") === "ascending" ||
          (!header.hasAttribute("aria-sort") && header.classList.contains("number"));
        headers.forEach(other => other.removeAttribute("aria-sort"));
        header.setAttribute("aria-sort", isDescending ? "descending" : "ascending");
        sort(table, column, isDescending);
      });
    });
  }
})();
