// Light or dark as it was chosen last, before anything is painted. Not a module, so that it runs at once.
(() => {
  try {
    const chosen = localStorage.getItem("cometbot.theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch {
    // Storage may be switched off: then the system's choice counts.
  }
})();
