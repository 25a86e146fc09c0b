// What shows itself again: <div data-refresh="5" data-refresh-url="/...">, content made by the server.
"use strict";

const SLOWEST_S = 60;

function isInUse(element) {
  const selection = document.getSelection();
  const isSelected = !selection.isCollapsed && selection.containsNode(element, true);
  return isSelected || element.contains(document.activeElement);
}

async function fetchContent(url) {
  // A redirect leads to the sign-in, whose page must not land in the middle of this one.
  const response = await fetch(url, { credentials: "same-origin", redirect: "manual" });
  if (response.type === "opaqueredirect" || response.status === 401 || response.status === 403) {
    return { isOver: true };
  }
  if (!response.ok) throw new Error(`status ${response.status}`);
  return { isOver: false, html: await response.text() };
}

function keepFresh(element) {
  const url = new URL(element.dataset.refreshUrl, location.href);
  const interval = Number(element.dataset.refresh);
  if (url.origin !== location.origin || !(interval > 0)) return;
  let wait = interval;
  let shownAt = new Date();

  async function refresh() {
    if (document.hidden || isInUse(element)) return schedule();
    try {
      const content = await fetchContent(url);
      if (content.isOver) {
        element.dataset.stale = `as of ${shownAt.toLocaleTimeString()}: sign in again`;
        return;
      }
      if (!isInUse(element)) {
        element.innerHTML = content.html;
        shownAt = new Date();
        delete element.dataset.stale;
      }
      wait = interval;
    } catch {
      wait = Math.min(wait * 2, SLOWEST_S);
      element.dataset.stale = `as of ${shownAt.toLocaleTimeString()}: the service does not answer`;
    }
    schedule();
  }

  function schedule() {
    setTimeout(refresh, wait * 1000);
  }

  schedule();
}

document.querySelectorAll("[data-refresh]").forEach(keepFresh);
