// The report: starts its interactive parts, opens folded parts for the printer and for links into them.

// The folded parts that an element is in are opened.
function unfold(element) {
  for (let part = element?.closest("details"); part; part = part.parentElement.closest("details")) {
    part.open = true;
  }
}

// The element that the address names, if any.
function target() {
  return document.getElementById(location.hash.slice(1));
}

// Opens the parts around the target of a link, and shows it.
function showTarget() {
  const element = target();
  if (element?.closest("details:not([open])")) {
    unfold(element);
    element.scrollIntoView();
  }
}

let folded = [];

addEventListener("hashchange", showTarget);
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("main details:not([open])")];
  folded.forEach((part) => { part.open = true; });
});
addEventListener("afterprint", () => folded.forEach((part) => { part.open = false; }));
showTarget();
explorerOf(document.getElementById("explorer"), document.getElementById("space"));
scorerOf(document.getElementById("scorer-box"), document.getElementById("scorer"));
