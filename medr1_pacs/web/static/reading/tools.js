// The buttons beside and above the pictures: what the viewer can do, its windows, the series.

import { printKey } from "./keys.js";

const SHORT = { W: "Window", I: "Invert", R: "Ruler", 0: "Reset", Space: "Cine" };

/** A button for each action of the viewer, with its key. */
export function buildTools(place, actions, viewer) {
  const buttons = new Map();
  for (const action of actions) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "tool";
    button.title = action.label;
    const short = SHORT[action.key];
    if (short) button.append(`${short} `);
    else button.setAttribute("aria-label", action.label);
    button.append(...printKey(action.key));
    button.addEventListener("click", () => action.run(viewer));
    place.append(button);
    buttons.set(action.key, button);
  }
  return buttons;
}

/** The windows that a frame offers, as buttons. */
export class Presets {
  constructor(place, viewer) {
    Object.assign(this, { place, viewer });
    this._names = null;
    viewer.addEventListener("window", () => this._write());
  }

  _write() {
    const { frame, voi } = this.viewer;
    const offered = frame && frame.gray ? frame.gray.offered : [];
    if (!frame) return; // those of the frame before stay until this one is there
    const names = offered.map((each, place) => each.name || `Window ${place + 1}`);
    if (names.join("\n") !== this._names) {
      this._names = names.join("\n");
      this.place.replaceChildren(...names.map((name, place) => this._button(name, place)));
      this.place.parentElement.hidden = names.length === 0;
    }
    [...this.place.children].forEach((button, place) => {
      button.setAttribute("aria-pressed", String(offered[place] === voi));
    });
  }

  _button(name, place) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "toggle";
    button.textContent = name;
    button.addEventListener("click", () => this.viewer.choosePreset(place));
    return button;
  }
}

function isShown(viewer, series) {
  return viewer.series !== null && viewer.series.url === series.url;
}

/** The series of a case: which one is shown, and at which frame each was left. */
export class SeriesList {
  constructor(place, viewer) {
    Object.assign(this, { place, viewer, series: [], at: 0 });
    this._left = new Map(); // place -> frame number
  }

  /** Open a case where it begins. */
  open(series, start) {
    this.series = series;
    this._left.clear();
    this.place.replaceChildren(...series.map((each, place) => this._item(each, place)));
    this.show(start.series, start.frame);
  }

  /** Show a series, at a frame or where it was left. */
  show(place, frame) {
    const { viewer } = this;
    const series = this.series[place];
    const before = this.series.findIndex((each) => isShown(viewer, each));
    if (before >= 0) this._left.set(before, viewer.number);
    this.at = place;
    if (before === place) {
      viewer.mark(series.marks);
      if (frame) viewer.show(frame);
    } else {
      const middle = Math.floor(series.frames / 2) + 1;
      viewer.open(series, frame || this._left.get(place) || middle);
    }
    this._write();
  }

  step(delta) {
    const place = this.at + delta;
    if (place >= 0 && place < this.series.length) this.show(place);
  }

  /** What the model saw is known now; nothing else changes. */
  reveal(series) {
    this.series = series;
    this.viewer.mark(series[this.at].marks);
    this.place.replaceChildren(...series.map((each, place) => this._item(each, place)));
    this._write();
  }

  get label() {
    return this.series.length ? this.series[this.at].label : "";
  }

  _item(series, place) {
    const [item, button] = [document.createElement("li"), document.createElement("button")];
    const count = document.createElement("span");
    button.type = "button";
    button.className = series.marks.length ? "is-marked" : "";
    button.append(series.label);
    count.className = "number";
    count.textContent = series.frames === 1 ? "1 frame" : `${series.frames} frames`;
    button.append(count);
    button.addEventListener("click", () => this.show(place));
    item.append(button);
    return item;
  }

  _write() {
    [...this.place.children].forEach((item, place) => {
      item.firstChild.toggleAttribute("aria-current", false);
      if (place === this.at) item.firstChild.setAttribute("aria-current", "true");
    });
  }
}
