"use strict";
{% include "base.js" %}
const body = document.querySelector("tbody");
const headings = [...document.querySelectorAll("thead th")];
const value = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
function compare(first, second) {
  const numbers = [Number(first), Number(second)];
  return numbers.some(Number.isNaN) ? first.localeCompare(second, undefined, { numeric: true }) : numbers[0] - numbers[1];
}
function sort(column) {
  const heading = headings[column];
  const sign = heading.ariaSort === "ascending" ? -1 : 1;
  for (const other of headings) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
  const rows = [...body.rows].map((row) => [row, value(row, column)]);
  // what a case does not have stands last, whichever way
  rows.sort(([, a], [, b]) => (a === "") - (b === "") || sign * compare(a, b));
  body.append(...rows.map(([row]) => row));
}
for (const heading of headings) {
  heading.querySelector("button")?.addEventListener("click", () => sort(heading.cellIndex));
}
const filter = document.querySelector("#filter");
const chosen = document.querySelector(".totals");
function show() {
  const verdict = chosen.querySelector("[aria-pressed=true]")?.dataset.verdict;
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of body.rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word)) || (verdict && row.dataset.verdict !== verdict);
    shown += !row.hidden;
  }
  document.querySelector("output").textContent = words.length || verdict ? `${shown} of ${body.rows.length} cases` : "";
}
filter.addEventListener("input", show);
for (const button of chosen.querySelectorAll("button")) {
  button.addEventListener("click", () => {
    const pressed = button.ariaPressed !== "true";
    for (const other of chosen.querySelectorAll("button")) other.setAttribute("aria-pressed", other === button && pressed);
    show();
  });
}
show(); // a browser may have kept the words from before
