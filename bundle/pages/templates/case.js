"use strict";
for (const slider of document.querySelectorAll(".compare input")) {
  const move = () => slider.parentElement.style.setProperty("--cut", slider.value + "%");
  slider.addEventListener("input", move);
  move(); // a browser may have kept the place from before
}
const dialog = document.querySelector("dialog");
for (const button of document.querySelectorAll("button.frame")) {
  button.addEventListener("click", () => {
    dialog.replaceChildren(button.closest("figure").cloneNode(true));
    dialog.showModal();
  });
}
dialog.addEventListener("click", () => dialog.close());
