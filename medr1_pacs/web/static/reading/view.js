// Where a picture lies on the canvas: fitted, zoomed, and moved.

const ZOOM_MIN = 0.25;
const ZOOM_MAX = 40;

/**
 * Zoom is relative to the largest size at which the whole picture is seen. What is in the middle of
 * the canvas is kept as shares of the picture, so that it stays when frames or the canvas change
 * their size. Canvas coordinates are device pixels, picture coordinates pixels of the frame: the
 * first one reaches from 0 to 1.
 */
export class View {
  constructor() {
    this.width = 1;
    this.height = 1;
    this.columns = 1;
    this.rows = 1;
    this.pixelAspect = 1;
    this.reset();
  }

  reset() {
    this.zoom = 1;
    this.middle = { x: 0.5, y: 0.5 };
  }

  setCanvas(width, height) {
    this.width = width;
    this.height = height;
  }

  setPicture({ rows, columns, pixelAspect }) {
    this.rows = rows;
    this.columns = columns;
    this.pixelAspect = pixelAspect;
  }

  /** Device pixels that a pixel of the frame is wide. */
  get scale() {
    const height = this.rows * this.pixelAspect;
    return Math.min(this.width / this.columns, this.height / height) * this.zoom;
  }

  toCanvas({ x, y }) {
    const { scale } = this;
    return {
      x: this.width / 2 + (x - this.middle.x * this.columns) * scale,
      y: this.height / 2 + (y - this.middle.y * this.rows) * scale * this.pixelAspect,
    };
  }

  toPicture({ x, y }) {
    const { scale } = this;
    return {
      x: this.middle.x * this.columns + (x - this.width / 2) / scale,
      y: this.middle.y * this.rows + (y - this.height / 2) / (scale * this.pixelAspect),
    };
  }

  /** Zoom by a factor; what is at this place of the canvas stays there. */
  zoomBy(factor, place = { x: this.width / 2, y: this.height / 2 }) {
    const before = this.toPicture(place);
    this.zoom = Math.min(ZOOM_MAX, Math.max(ZOOM_MIN, this.zoom * factor));
    const after = this.toPicture(place);
    this._moveMiddle(before.x - after.x, before.y - after.y);
  }

  /** Move the picture by device pixels. */
  panBy(x, y) {
    const { scale } = this;
    this._moveMiddle(-x / scale, -y / (scale * this.pixelAspect));
  }

  _moveMiddle(x, y) {
    const within = (share) => Math.min(1, Math.max(0, share));
    this.middle = {
      x: within(this.middle.x + x / this.columns),
      y: within(this.middle.y + y / this.rows),
    };
  }
}
