// Shows the page again every few seconds; says so when it cannot, since an old page must not look like good news.
const stale = document.getElementById("stale");
let seen = new Date();
async function refresh() {
  try {
    const answer = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(4000) });
    if (!answer.ok) throw new Error(answer.statusText);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    document.querySelector("main").replaceWith(fresh.querySelector("main"));
    document.querySelector("link[rel=icon]").href = fresh.querySelector("link[rel=icon]").href;
    document.title = fresh.title;
    seen = new Date();
    stale.hidden = true;
  } catch {
    stale.textContent = `No answer from tdbwatch since ${seen.toLocaleTimeString()}: what is below is old.`;
    stale.hidden = false;
    document.title = "no answer - tdbwatch";
  }
}
const isTyping = () => document.activeElement instanceof HTMLInputElement;
setInterval(() => { if (!document.hidden && !isTyping()) refresh(); }, 5000);
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
