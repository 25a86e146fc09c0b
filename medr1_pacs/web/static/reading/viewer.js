// Shows the frames of a series, and windows, zooms, moves and measures them at once.
//
//   const viewer = new Viewer(element, { status: { frame, window, value, zoom, mark, message } });
//   viewer.open({ label: "CT chest", frames: 300, url: "/cases/7/frames/{n}", marks: [150] });
//
// `status` are elements whose text the viewer writes; each may be missing. Events, all CustomEvent:
//
//   frame    {number, frames, isMarked, isLoaded}      another frame is looked at, or it came
//   window   {center, width, function, name, isInverted}   how it is windowed; null for color
//   value    `Frame.valueAt` of what is under the cursor
//   load     {loaded, frames}
//
// The series is as `loader.js` describes it; `marks` are the numbers of the frames that the model
// saw. Window, inversion, zoom and place persist over the frames of a series. A window is the
// frame's own until somebody chooses one.

import { Cine } from "./cine.js";
import { rangeOf, windowOf } from "./frames.js";
import { FrameLoader } from "./loader.js";
import { drawOrientation } from "./orientation.js";
import { attachPointer } from "./pointer.js";
import { Rulers, drawRuler } from "./ruler.js";
import { writeStatus, writeValue } from "./status.js";
import { Strip } from "./strip.js";
import { Surface } from "./surface.js";
import { View } from "./view.js";

export { ACTIONS, handleKey } from "./actions.js";

const COARSE_ABOVE_PX = 1.5e6; // a larger frame is drawn with fewer pixels while it changes
const WINDOW_PX = 250; // a drag of that many CSS pixels doubles a window's width
const NARROWEST_SHARE = 1 / 4000; // of a frame's values: by as much a drag widens the narrowest

export class Viewer extends EventTarget {
  constructor(element, { status = {}, loader = {} } = {}) {
    super();
    this.status = status;
    this.series = null;
    this.number = 1;
    this.cine = new Cine(this);
    this.isInverted = false;
    this.rulerMode = false;
    this.pixelRatio = window.devicePixelRatio;
    this.view = new View();
    this._rulers = new Rulers();
    this._wish = null; // null: the frame's own VOI; {place, name, source}; {center, width, function}
    this._cursor = null;
    this._isDragging = false;
    this._request = 0;
    this._build(element);
    this.loader = new FrameLoader({
      ...loader,
      onFrame: (number) => this._come(number),
      onFailure: () => this.requestDraw(),
    });
  }

  /** The frame that is looked at; undefined until it is loaded. */
  get frame() {
    return this.series ? this.loader.get(this.number) : undefined;
  }

  /** How the frame is windowed; null for color. */
  get voi() {
    const { frame, _wish: wish } = this;
    if (!frame || frame.isColor) return null;
    if (wish === null) return frame.defaultVoi;
    if (wish.center !== undefined) return wish;
    const isWished = (voi) => voi.name === wish.name && voi.source === wish.source;
    const { offered } = frame.gray;
    const there = offered[wish.place];
    return there && isWished(there) ? there : offered.find(isWished) || frame.defaultVoi;
  }

  /** The canvas of the frame's own size that was drawn last; undefined before the first. */
  get picture() {
    return this._drawn && this._drawn.canvas;
  }

  /** Show a series from one of its frames on, as if nobody had looked at it. */
  open(series, number = 1) {
    this.pause();
    this.series = { marks: [], ...series };
    this._rulers.clear();
    this.loader.open(this.series, number);
    this.reset();
    this.show(number);
    this._dispatch("load", { loaded: this.loader.countLoaded(), frames: series.frames });
  }

  /** Fetch some frames of a series that may be next: those around the one it opens at. */
  preload(series, count, around) {
    this.loader.preload(series, count, around);
  }

  /** Say anew which frames the model saw; all else stays as it is. */
  mark(marks) {
    this.series.marks = marks;
    this._tellFrame();
    this.requestDraw();
  }

  /** Look at a frame, counted from 1. */
  show(number) {
    if (!this.series) return;
    this.number = Math.min(this.series.frames, Math.max(1, number));
    this._rulers.end(this.number);
    this.loader.move(this.number);
    this._tellFrame();
    this._change();
    this.point(this._cursor);
  }

  step(delta) {
    this.show(this.number + delta);
  }

  setWindow(center, width) {
    const { frame, voi } = this;
    if (!voi || !Number.isFinite(center) || !Number.isFinite(width)) return;
    const curve = windowOf(frame, voi).function;
    this._wish = { center, width: Math.max(1, width), function: curve, name: "" };
    this._tellWindow();
  }

  /** Take the next of what the frame offers: the object's own windows, then the presets. */
  cyclePreset() {
    const { frame, voi } = this;
    if (!voi) return;
    const { offered } = frame.gray;
    this.choosePreset((offered.indexOf(voi) + 1) % offered.length);
  }

  /** Take one of `frame.gray.offered`, by its place. */
  choosePreset(place) {
    if (!this.voi) return;
    const { name, source } = this.frame.gray.offered[place];
    this._wish = { place, name, source };
    this._tellWindow();
  }

  invert() {
    this.isInverted = !this.isInverted;
    this._tellWindow();
  }

  /** Zoom by a factor, around a place of the canvas or its middle. */
  zoom(factor, place) {
    this.view.zoomBy(factor, place);
    this.requestDraw();
  }

  /** Move the picture by device pixels. */
  pan(x, y) {
    this.view.panBy(x, y);
    this.requestDraw();
  }

  /** Take back window, inversion, zoom, place and rulers. */
  reset() {
    this._wish = null;
    this.isInverted = false;
    this.view.reset();
    this._rulers.clear();
    this._tellWindow();
  }

  toggleRuler() {
    this.rulerMode = !this.rulerMode;
    this._rulers.end(this.number);
    this._stage.classList.toggle("is-measuring", this.rulerMode);
    this.requestDraw();
  }

  get isPlaying() {
    return this.cine.isPlaying;
  }

  togglePlay() {
    if (this.isPlaying) this.pause();
    else this.play();
  }

  /** Show frame after frame, round and round; `rate` is in frames per second. */
  play(rate) {
    this.cine.play(rate || (this.frame && this.frame.frameRate));
  }

  pause() {
    this.cine.pause();
    if (this._isCoarse) this._change();
  }

  /** End: nothing is fetched or drawn any more. */
  close() {
    this.pause();
    this.loader.close();
    this._observer.disconnect();
    cancelAnimationFrame(this._request);
    this.series = null;
  }

  /** Draw with the next picture of the screen, once however much changes until then. */
  requestDraw() {
    if (this._request) return;
    this._request = requestAnimationFrame(() => {
      this._request = 0;
      this.draw();
    });
  }

  /** Draw now what was to be drawn with the next picture of the screen. */
  drawRequested() {
    if (!this._request) return;
    cancelAnimationFrame(this._request);
    this._request = 0;
    this.draw();
  }

  /** Draw now. */
  draw() {
    const { frame, view, _context: context } = this;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = "#000";
    context.fillRect(0, 0, view.width, view.height);
    this._overlay.clearRect(0, 0, view.width, view.height);
    if (frame) {
      view.setPicture(frame);
      this._drawPicture(frame);
      if (frame.orientation) {
        drawOrientation(this._overlay, view, frame.orientation, this.pixelRatio);
      }
      const line = this._rulers.of(this.number);
      if (line) drawRuler(this._overlay, view, frame, line, this.pixelRatio);
    }
    if (this.series) this._tell();
  }

  // Called by the pointer; places are on the canvas, in device pixels.

  point(place) {
    this._cursor = place;
    const { frame } = this;
    let found = null;
    if (place && frame) {
      this.view.setPicture(frame);
      const { x, y } = this.view.toPicture(place);
      found = frame.valueAt(Math.floor(y), Math.floor(x));
    }
    this._dispatch("value", found);
    writeValue(this, found);
  }

  /** Begin to drag a window; returns what moves it, by CSS pixels across and down. */
  beginWindow() {
    const { frame } = this;
    const { center, width } = windowOf(frame, this.voi);
    const share = Math.max(width - 1, rangeOf(frame) * NARROWEST_SHARE) / WINDOW_PX;
    const rounded = width >= 50 ? Math.round : (number) => number;
    return (across, down) =>
      this.setWindow(rounded(center + share * down), rounded(width + share * across));
  }

  beginDrag() {
    this._isDragging = true;
  }

  endDrag() {
    this._isDragging = false;
    if (this._isCoarse) this._change();
  }

  pressRuler(place) {
    this._isRulerNew = !this._rulers.isDrawing(this.number);
    if (this._isRulerNew) this._rulers.begin(this.number, this.view.toPicture(place));
    this.moveRuler(place);
  }

  moveRuler(place) {
    this._rulers.move(this.number, this.view.toPicture(place));
    this.requestDraw();
  }

  releaseRuler(place, isClick) {
    // The first of two clicks leaves the other end with the hand.
    if (!isClick || !this._isRulerNew) this._rulers.end(this.number, this.view.toPicture(place));
    this.requestDraw();
  }

  _build(element) {
    element.classList.add("viewer");
    this._stage = make("div", "viewer-stage", element);
    const canvas = make("canvas", "viewer-picture", this._stage);
    const overlay = make("canvas", "viewer-overlay", this._stage);
    canvas.setAttribute("role", "img");
    canvas.tabIndex = 0;
    this.canvas = canvas;
    this._context = canvas.getContext("2d", { alpha: false });
    this._overlay = overlay.getContext("2d");
    this._surface = new Surface();
    this._coarse = new Surface();
    this._strip = new Strip(make("div", "viewer-strip", element), (number) => this.show(number));
    attachPointer(this, canvas);
    this._observer = new ResizeObserver(() => this._resize());
    this._observer.observe(this._stage);
    this._resize();
  }

  _resize() {
    this.pixelRatio = window.devicePixelRatio;
    const width = Math.max(1, Math.round(this._stage.clientWidth * this.pixelRatio));
    const height = Math.max(1, Math.round(this._stage.clientHeight * this.pixelRatio));
    for (const { canvas } of [this._context, this._overlay]) {
      canvas.width = width;
      canvas.height = height;
    }
    this.view.setCanvas(width, height);
    this._isStripStale = true;
    this.draw(); // a canvas that was resized is empty
  }

  _drawPicture(frame) {
    if (this._isStale) {
      const pixels = frame.rows * frame.columns;
      const isMoving = this._isDragging || this.isPlaying;
      this._isCoarse = isMoving && pixels > COARSE_ABOVE_PX;
      const stride = this._isCoarse ? Math.ceil(Math.sqrt(pixels / COARSE_ABOVE_PX)) : 1;
      this._drawn = this._isCoarse ? this._coarse : this._surface;
      this._drawn.draw(frame, this.voi, this.isInverted, stride);
      this._stride = stride;
      this._isStale = false;
    }
    const { view, _context: context, _stride: stride } = this;
    const { canvas } = this._drawn;
    const from = view.toCanvas({ x: 0, y: 0 });
    const scale = view.scale * stride; // the last column of a coarse picture may reach beyond
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = this._isDragging || this.isPlaying ? "low" : "high";
    context.setTransform(scale, 0, 0, scale * view.pixelAspect, from.x, from.y);
    context.drawImage(canvas, 0, 0);
  }

  /** The frame's gray levels have to be drawn anew. */
  _change() {
    this._isStale = true;
    this.requestDraw();
  }

  _come(number) {
    this._isStripStale = true;
    this._dispatch("load", { loaded: this.loader.countLoaded(), frames: this.series.frames });
    if (number === this.number) {
      this._tellFrame();
      this._tellWindow();
      this.point(this._cursor);
    }
    this.requestDraw();
  }

  get isMarked() {
    return Boolean(this.series) && this.series.marks.includes(this.number);
  }

  _tellFrame() {
    this._isStripStale = true;
    const { number, isMarked, frame } = this;
    const { frames } = this.series;
    this._dispatch("frame", { number, frames, isMarked, isLoaded: frame !== undefined });
  }

  _tellWindow() {
    const { voi, isInverted } = this;
    const { center, width, function: curve, name } = voi || {};
    this._dispatch("window", voi && { center, width, function: curve, name, isInverted });
    this._change();
  }

  _dispatch(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  /** Say in words and on the strip what is shown. */
  _tell() {
    writeStatus(this);
    this._stage.classList.toggle("is-marked", this.isMarked);
    if (!this._isStripStale) return;
    this._isStripStale = false;
    this._strip.draw({
      frames: this.series.frames,
      current: this.number,
      marks: this.series.marks,
      isLoaded: (each) => this.loader.get(each) !== undefined,
    });
  }
}

function make(name, className, parent) {
  const element = document.createElement(name);
  element.className = className;
  parent.append(element);
  return element;
}
