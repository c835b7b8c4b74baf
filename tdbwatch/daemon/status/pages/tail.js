// Shows events as they come. Rows are made by the server, which escapes what events carry.
const MOST = 500;
const tail = document.getElementById("tail"), body = tail.querySelector("tbody"), live = document.getElementById("live");
const source = tail.dataset.stream && new URL(tail.dataset.stream, location.href);
let stream = null, unseen = 0, again = 0;
function say(text, colour) {
  live.textContent = text;
  live.className = `badge ${colour}`;
}
function later(why) {
  stream.close();
  say(`not live: ${why}`, "trouble");
  again = setTimeout(open, 15000);
}
function open() {
  stream = new EventSource(source);
  stream.onopen = () => say("live", "ok");
  stream.onmessage = (event) => {
    source.searchParams.set("after", event.lastEventId);
    const made = document.createElement("template");
    made.innerHTML = event.data;
    for (const row of [...made.content.children]) body.prepend(row);
    while (body.children.length > MOST) body.lastElementChild.remove();
    say(unseen ? `live, ${unseen} too many to show` : "live", "ok");
  };
  stream.addEventListener("unseen", (event) => { unseen += Number(event.data.replaceAll(",", "")); });
  stream.addEventListener("replaced", (event) => later(event.data));
  stream.onerror = () => {
    if (stream.readyState === EventSource.CLOSED) later("no answer");
    else say("connecting", "idle");
  };
}
if (source) {
  const pause = document.createElement("button");
  pause.type = "button";
  pause.textContent = "Pause";
  pause.onclick = () => {
    if (stream) {
      clearTimeout(again);
      stream.close();
      stream = null;
      say("paused", "warning");
    } else open();
    pause.textContent = stream ? "Pause" : "Go on";
  };
  document.querySelector("form").append(pause);
  open();
}
