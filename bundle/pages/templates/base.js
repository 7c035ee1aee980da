const root = document.documentElement;
const dark = document.querySelector("#dark");
dark.checked = dark.defaultChecked = matchMedia("(prefers-color-scheme: dark)").matches;
dark.addEventListener("change", () => { root.style.colorScheme = dark.checked ? "dark" : "light"; });
let unfolded = []; // for the time of printing, as paper cannot be clicked: remarks and pictures
addEventListener("beforeprint", () => {
  unfolded = [...document.querySelectorAll(":is(.verdict, .slice, .told) details:not([open])")];
  for (const part of unfolded) part.open = true;
});
addEventListener("afterprint", () => { for (const part of unfolded) part.open = false; });
