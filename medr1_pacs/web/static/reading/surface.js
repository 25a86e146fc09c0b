// A frame's gray levels or colors on a canvas of the frame's own size.

import { LOOKUP_SIZE, drawPixels, fillLookup } from "./frames.js";

export class Surface {
  constructor() {
    this.canvas = document.createElement("canvas");
    this._context = this.canvas.getContext("2d", { alpha: false });
    this._lookup = new Uint32Array(LOOKUP_SIZE);
    this._image = null;
  }

  /** Draw every `stride`-th pixel of every `stride`-th row. */
  draw(frame, voi, isInverted, stride) {
    const [width, height] = [Math.ceil(frame.columns / stride), Math.ceil(frame.rows / stride)];
    if (!this._image || this._image.width !== width || this._image.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
      this._image = this._context.createImageData(width, height);
      this._target = new Uint32Array(this._image.data.buffer);
    }
    if (voi) fillLookup(frame, voi, isInverted, this._lookup);
    drawPixels(frame, this._lookup, isInverted, stride, this._target);
    this._context.putImageData(this._image, 0, 0);
  }
}
