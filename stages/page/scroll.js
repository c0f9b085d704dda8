// Boxes that scroll sideways can be reached with the keyboard: those that are wider than their place, at this
// moment, get a tab stop and a name.

function stopAtScrollers() {
  const observer = new ResizeObserver((entries) => entries.forEach(({ target: box }) => {
    if (box.scrollWidth <= box.clientWidth) {
      box.removeAttribute("tabindex");
      return;
    }
    box.tabIndex = 0;
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", box.querySelector("caption")?.textContent.trim() || "Scrolls sideways");
  }));
  document.querySelectorAll(".wide:not([tabindex]), pre").forEach((box) => observer.observe(box));
}

stopAtScrollers();
