// A line between two places of a frame, and its length.

import { describeLength } from "./words.js";

const TICK_PX = 6;

export class Rulers {
  constructor() {
    this.clear();
  }

  clear() {
    this._lines = new Map(); // frame number -> {from, to}, picture coordinates
    this._drawing = null; // the number of the frame on which one end still follows the hand
  }

  of(number) {
    return this._lines.get(number);
  }

  isDrawing(number) {
    return this._drawing === number;
  }

  begin(number, place) {
    this._lines.set(number, { from: place, to: place });
    this._drawing = number;
  }

  move(number, place) {
    if (this.isDrawing(number)) this._lines.get(number).to = place;
  }

  end(number, place) {
    this.move(number, place);
    this._drawing = null;
  }
}

/** Draw a ruler and its length; canvas coordinates are device pixels. */
export function drawRuler(context, view, frame, line, ratio) {
  const [from, to] = [view.toCanvas(line.from), view.toCanvas(line.to)];
  const length = Math.hypot(to.x - from.x, to.y - from.y) || 1;
  const across = {
    x: ((from.y - to.y) / length) * TICK_PX * ratio,
    y: ((to.x - from.x) / length) * TICK_PX * ratio,
  };
  context.lineCap = "round";
  // A dark line below the bright one is seen on any tissue.
  for (const [color, width] of [
    ["rgb(0 0 0 / 70%)", 4],
    ["rgb(255 214 92)", 1.5],
  ]) {
    context.strokeStyle = color;
    context.lineWidth = width * ratio;
    context.beginPath();
    context.moveTo(from.x, from.y);
    context.lineTo(to.x, to.y);
    for (const end of [from, to]) {
      context.moveTo(end.x - across.x, end.y - across.y);
      context.lineTo(end.x + across.x, end.y + across.y);
    }
    context.stroke();
  }
  drawLabel(context, view, describeLength(frame, line), to, ratio);
}

function drawLabel(context, view, text, place, ratio) {
  context.font = `600 ${13 * ratio}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  const [width, height, gap] = [context.measureText(text).width, 20 * ratio, 10 * ratio];
  const within = (value, room) => Math.max(gap, Math.min(value, room - gap));
  const x = within(place.x + gap, view.width - width);
  const y = within(place.y + gap + height / 2, view.height - height / 2);
  context.fillStyle = "rgb(0 0 0 / 65%)";
  context.fillRect(x - gap / 2, y - height / 2, width + gap, height);
  context.fillStyle = "rgb(255 214 92)";
  context.fillText(text, x, y);
}
