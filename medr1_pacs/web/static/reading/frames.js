// A frame's message -> values, and values -> gray levels.
//
// medr1_pacs/rendering/reader_message.py describes the message; the arithmetic is that of
// medr1_pacs/rendering/voi.py, operation by operation in float64, so that canvas and renderer show
// the same. Typed arrays have the machine's byte order: little-endian wherever a browser runs.

const ARRAYS = { uint8: Uint8Array, uint16: Uint16Array, float64: Float64Array };

export const LOOKUP_SIZE = 65536;

const GRAYS = Uint32Array.from({ length: 256 }, (_, level) => gray(level));
const BLACK = GRAYS[0];

function gray(level) {
  return (0xff000000 | (level << 16) | (level << 8) | level) >>> 0; // ABGR: R is the first byte
}

/** One frame at its native size. */
export class Frame {
  constructor(told, sections) {
    const read = (section) => section && sections(section);
    this.rows = told.rows;
    this.columns = told.columns;
    this.pixels = read(told.pixels);
    this.pixelAspect = told.pixel_aspect;
    this.spacing = told.spacing;
    this.orientation = told.orientation;
    this.frameRate = told.frame_rate;
    this.isColor = told.kind === "color";
    this.gray = told.gray && {
      ...told.gray,
      values: read(told.gray.values),
      offered: told.gray.offered.map((voi) => ({ ...voi, display: read(voi.display) })),
    };
    this.bytes = 0;
  }

  /** The VOI transformation that the renderer draws with; null for color. */
  get defaultVoi() {
    return this.gray && this.gray.offered[this.gray.default];
  }

  /** Index -> modality value. */
  modalityValue(index) {
    const { values, first, slope, intercept } = this.gray;
    return values ? values[index] : (first + index) * slope + intercept;
  }

  isPadding(index) {
    return this.gray.padding.some(([first, last]) => first <= index && index <= last);
  }

  /** What is at a place, both from 0: null outside. */
  valueAt(row, column) {
    if (!(row >= 0 && row < this.rows && column >= 0 && column < this.columns)) return null;
    const place = row * this.columns + column;
    if (this.isColor) return { rgb: Array.from(this.pixels.subarray(3 * place, 3 * place + 3)) };
    const index = this.pixels[place];
    return {
      value: this.modalityValue(index),
      units: this.gray.units,
      isPadding: this.isPadding(index),
      step: this.gray.quantization_step,
    };
  }
}

/** Read a message. Its arrays are views of the buffer, which is not copied. */
export function parseFrame(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const told = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const frame = new Frame(
    told,
    ({ offset, type, count }) => new ARRAYS[type](buffer, 4 + length + offset, count),
  );
  frame.bytes = buffer.byteLength;
  return frame;
}

/** Fraction (0 to 1) of one modality value through a window, before it is clipped. */
function windowFunction({ center, width, function: name }) {
  if (name === "SIGMOID") {
    return (value) => {
      const exponent = Math.min(Math.max((-4 * (value - center)) / width, -60), 60);
      return 1 / (1 + Math.exp(exponent));
    };
  }
  if (name === "LINEAR_EXACT") return (value) => (value - center) / width + 0.5;
  const middle = center - 0.5;
  const span = width - 1;
  if (span === 0) return (value) => (value > middle ? 1 : 0);
  return (value) => (value - middle) / span + 0.5;
}

// Adding and taking away 1.5 * 2 ** 52 leaves no bits for a fraction: it rounds, halves to even.
const ROUND = 1.5 * 2 ** 52;

/** Fraction -> gray level, 0 to 255. */
export function levelOf(fraction) {
  const level = fraction * 255;
  if (!(level > 0)) return 0; // NaN too
  return level >= 255 ? 255 : level + ROUND - ROUND;
}

/**
 * Fill `lookup` (Uint32Array of LOOKUP_SIZE) with the color of every index of a gray frame.
 *
 * `voi` is one of `frame.gray.offered`, or {center, width, function}. `isInverted` inverts once
 * more than the object says. Padding is black either way.
 */
export function fillLookup(frame, voi, isInverted, lookup) {
  const { indices, values, first, slope, intercept, padding, is_inverted } = frame.gray;
  const flip = is_inverted !== isInverted ? 255 : 0; // 255 - level is level ^ 255
  if (voi.display) {
    for (let index = 0; index < indices; index++) lookup[index] = GRAYS[voi.display[index] ^ flip];
  } else {
    const fractionOf = windowFunction(voi);
    for (let index = 0; index < indices; index++) {
      const value = values ? values[index] : (first + index) * slope + intercept;
      lookup[index] = GRAYS[levelOf(fractionOf(value)) ^ flip];
    }
  }
  for (const [low, high] of padding) lookup.fill(BLACK, low, high + 1);
}

/** Draw every `stride`-th pixel of every `stride`-th row into `target`, a Uint32Array of RGBA. */
export function drawPixels(frame, lookup, isInverted, stride, target) {
  const { rows, columns, pixels } = frame;
  if (frame.isColor) {
    drawColor(frame, isInverted ? 0xffffff : 0, stride, target);
  } else if (stride === 1) {
    for (let place = 0; place < pixels.length; place++) target[place] = lookup[pixels[place]];
  } else {
    let at = 0;
    for (let row = 0; row < rows; row += stride) {
      const end = (row + 1) * columns;
      for (let place = row * columns; place < end; place += stride) {
        target[at++] = lookup[pixels[place]];
      }
    }
  }
}

function drawColor({ rows, columns, pixels }, flip, stride, target) {
  let at = 0;
  for (let row = 0; row < rows; row += stride) {
    const end = 3 * (row + 1) * columns;
    for (let place = 3 * row * columns; place < end; place += 3 * stride) {
      const color = (pixels[place + 2] << 16) | (pixels[place + 1] << 8) | pixels[place];
      target[at++] = (0xff000000 | (color ^ flip)) >>> 0;
    }
  }
}

/** A window that shows about what a VOI shows: itself, or for a lookup table where that rises. */
export function windowOf(frame, voi) {
  if (!voi.display) return { center: voi.center, width: voi.width, function: voi.function };
  const { display } = voi;
  let low = 0;
  let high = display.length - 1;
  while (low < high && display[low + 1] === display[0]) low++;
  while (high > low && display[high - 1] === display[display.length - 1]) high--;
  const [from, to] = [frame.modalityValue(low), frame.modalityValue(high)];
  return { center: (from + to + 1) / 2, width: Math.max(1, to - from + 1), function: "LINEAR" };
}

/** How far the modality values of a gray frame reach. */
export function rangeOf(frame) {
  return Math.abs(frame.modalityValue(frame.gray.indices - 1) - frame.modalityValue(0));
}
