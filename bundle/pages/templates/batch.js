"use strict";
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
function show() {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of body.rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
    shown += !row.hidden;
  }
  document.querySelector("output").textContent = words.length ? `${shown} of ${body.rows.length} cases` : "";
}
filter.addEventListener("input", show);
show(); // a browser may have kept the words from before
