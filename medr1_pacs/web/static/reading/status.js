// What is shown, in the elements that the page gave for it; each may be missing.

import { describeValue, describeVoi } from "./words.js";

function write(element, text) {
  if (element && element.textContent !== text) element.textContent = text;
}

/** Write all but the value under the cursor. */
export function writeStatus(viewer) {
  const { series, number, frame, status, voi, isInverted, isMarked } = viewer;
  const place = `frame ${number} of ${series.frames}`;
  viewer.canvas.setAttribute("aria-label", `${series.label}, ${place}`);
  write(status.frame, place);
  write(status.window, describeVoi(voi) + (isInverted ? "  inverted" : ""));
  write(status.zoom, frame ? `${Math.round(viewer.view.scale * 100)}\u2009%` : "");
  write(status.mark, isMarked ? "The model saw this frame" : "");
  write(status.message, frame ? "" : describeAbsence(viewer));
}

/** Write what `Frame.valueAt` found under the cursor. */
export function writeValue({ status }, found) {
  write(status.value, describeValue(found));
}

function describeAbsence({ loader, number }) {
  const failure = loader.failureOf(number);
  return failure ? `Frame ${number} cannot be shown: ${failure}` : `Frame ${number} is loading`;
}
