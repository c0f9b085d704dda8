// The page of the explorer alone.

// A button that switches between light and dark. The system's setting holds until it is used.
function themeButton(button) {
  const root = document.documentElement;
  const isDark = () => (root.dataset.theme
    ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
  const name = () => { button.textContent = isDark() ? "Light" : "Dark"; };
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    name();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", name);
  name();
  button.hidden = false;
}

themeButton(document.getElementById("theme"));
explorerOf(document.getElementById("explorer"), document.getElementById("space"), { wheel: "always" });
