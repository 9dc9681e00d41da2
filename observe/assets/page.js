// Renews the page with what its server sends, and says when it does not.
"use strict";

(() => {
  const eventsMost = 100; // as the server keeps
  const retry = 10_000; // milliseconds, after the server has refused
  let source = null;
  let timer = 0;

  const byID = (id) => document.getElementById(id);

  function tell(text, state) {
    const status = byID("status");
    if (status.textContent !== text) status.textContent = text;
    if (status.className !== state) status.className = state;
  }

  function setCell([id, text, className]) {
    const element = byID(id);
    if (!element) return;
    if (element.tagName === "METER") {
      element.value = Number(text);
      return;
    }
    setText(element, text);
    if (element.className !== className) element.className = className;
  }

  // Changes the text that is there, since another one would have to be styled anew.
  function setText(element, text) {
    const node = element.firstChild;
    if (node && node === element.lastChild && node.nodeType === Node.TEXT_NODE) {
      if (node.data !== text) node.data = text;
    } else if (element.textContent !== text) {
      element.textContent = text;
    }
  }

  function addEvent(event) {
    const list = byID("events");
    const item = byID("event").content.firstElementChild.cloneNode(true);
    item.className = event.class;
    const time = item.querySelector("time");
    time.textContent = event.clock;
    time.dateTime = event.stamp;
    item.querySelector("span").textContent = event.text;
    list.prepend(item);
    while (list.childElementCount > eventsMost) list.lastElementChild.remove();
  }

  function apply(patch) {
    const clock = byID("clock");
    setText(clock, patch.clock);
    clock.dateTime = patch.stamp;
    patch.cells.forEach(setCell);
    patch.events.forEach(addEvent);
    tell("live", "up");
  }

  // Takes the page from the server once more, since it has other parts now.
  async function reload() {
    disconnect();
    try {
      const answer = await fetch("./", { cache: "no-store" });
      if (!answer.ok) throw new Error(answer.statusText);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      document.title = page.title;
      byID("main").replaceWith(document.importNode(page.getElementById("main"), true));
      connect();
    } catch {
      refused("no answer, trying again");
    }
  }

  function refused(why) {
    disconnect();
    tell(why, "down");
    timer = setTimeout(reload, retry);
  }

  function disconnect() {
    clearTimeout(timer);
    if (source) source.close();
    source = null;
  }

  function connect() {
    disconnect();
    tell("connecting", "connecting");
    const { layout, newest } = byID("main").dataset;
    source = new EventSource(`events?layout=${encodeURIComponent(layout)}&newest=${encodeURIComponent(newest)}`);
    source.addEventListener("patch", (message) => apply(JSON.parse(message.data)));
    source.addEventListener("layout", reload);
    source.addEventListener("closed", () => refused("the server has closed"));
    source.addEventListener("error", () => {
      if (source && source.readyState === EventSource.CLOSED) {
        refused("refused, trying again"); // there are enough viewers, or the server has closed
      } else {
        tell("no connection, trying again", "down");
      }
    });
  }

  // A page that nobody sees costs nothing.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      disconnect();
      tell("paused", "idle");
    } else if (!source) {
      reload();
    }
  });

  connect();
})();
