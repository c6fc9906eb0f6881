"use strict";
// In the head, so that no page is light first and dark then.
const systemIsDark = matchMedia("(prefers-color-scheme: dark)");
let chosenTheme = null;
try { chosenTheme = localStorage.getItem("harness-theme"); } catch { /* a browser may keep nothing for files */ }
if (chosenTheme !== "dark" && chosenTheme !== "light") chosenTheme = null;
document.documentElement.dataset.theme = chosenTheme || (systemIsDark.matches ? "dark" : "light");
