// Keeps the numbers current. Without this script the page shows the same, as of when it was loaded.
(() => {
  "use strict";
  const every = 2000;
  let busy = false;

  async function refresh() {
    if (busy || document.hidden) return;
    busy = true;
    try {
      const response = await fetch(location.href, { cache: "no-store" });
      if (!response.ok) return;
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      const fresh = page.getElementById("live");
      const shown = document.getElementById("live");
      if (fresh && shown && fresh.innerHTML !== shown.innerHTML) shown.replaceChildren(...fresh.childNodes);
    } catch {
      // The server is away: what is shown says as of when it is, and the next round tries again.
    } finally {
      busy = false;
    }
  }

  setInterval(refresh, every);
})();
