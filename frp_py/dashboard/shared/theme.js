/* Sets the theme before anything is drawn; a classic script, so that the page doesn't flash. Others use window.frpTheme. */
(() => {
  const KEY = "frp-theme";
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const print = matchMedia("print");
  const root = document.documentElement;
  const kept = () => {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null;
    }
  };
  let choice = ["light", "dark"].includes(kept()) ? kept() : "auto";
  const apply = () => {
    const theme = print.matches ? "light" : choice === "auto" ? (dark.matches ? "dark" : "light") : choice;
    if (root.dataset.theme === theme) return;
    root.dataset.theme = theme;
    dispatchEvent(new Event("frp-theme"));
  };
  dark.addEventListener("change", apply);
  print.addEventListener("change", apply);
  window.frpTheme = {
    get choice() {
      return choice;
    },
    choose(next) {
      choice = next;
      try {
        if (next === "auto") localStorage.removeItem(KEY);
        else localStorage.setItem(KEY, next);
      } catch {
        // A browser that keeps nothing asks again the next time.
      }
      apply();
    },
  };
  apply();
})();
