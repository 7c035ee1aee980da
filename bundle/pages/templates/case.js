"use strict";
{% include "base.js" %}
const tools = document.querySelector(".tools");
function apply() { // also what a browser has kept from before
  for (const tool of tools.querySelectorAll("[type=range]")) root.style.setProperty(`--${tool.name}`, tool.value);
  for (const slider of document.querySelectorAll(".compare input")) {
    slider.parentElement.style.setProperty("--cut", slider.value + "%");
  }
}
for (const kind of ["input", "reset"]) document.addEventListener(kind, () => setTimeout(apply));
apply();
// all pictures are enlarged about one place: where the pointer is, or, on a reference, where it is dragged to
for (const frame of document.querySelectorAll(".zoomed")) {
  frame.addEventListener("pointermove", (event) => {
    if (event.buttons && frame.closest(".compare")) return; // that moves the line
    const box = frame.getBoundingClientRect();
    root.style.setProperty("--x", `${(100 * (event.clientX - box.left)) / box.width}%`);
    root.style.setProperty("--y", `${(100 * (event.clientY - box.top)) / box.height}%`);
  });
}
const dialog = document.querySelector("dialog");
for (const button of document.querySelectorAll("button.frame")) {
  button.addEventListener("click", () => {
    dialog.replaceChildren(button.closest("figure").cloneNode(true));
    dialog.showModal();
  });
}
dialog.addEventListener("click", () => dialog.close());
