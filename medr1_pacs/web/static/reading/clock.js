// How long a reader was at a case: while its page is seen, and as long as there was input within
// the last 30 seconds. A reader who looks at one picture longer than that without touching
// anything is taken to be away from then on; the input that ends it begins to count anew.

export const IDLE_MS = 30_000;

const INPUT = ["pointermove", "pointerdown", "wheel", "keydown", "input"];

export class ActiveClock {
  constructor() {
    this._counted = 0; // ms up to `_last`
    this._last = 0;
    this._isRunning = false;
    this._isSeen = !document.hidden;
    for (const name of INPUT) {
      document.addEventListener(name, () => this._touch(), { capture: true, passive: true });
    }
    document.addEventListener("visibilitychange", () => this._see(!document.hidden));
  }

  /** Go on from what was counted before, in ms. */
  start(counted) {
    this._counted = counted;
    this._last = performance.now();
    this._isRunning = true;
  }

  stop() {
    this._touch();
    this._isRunning = false;
  }

  /** Whole milliseconds counted so far. */
  read() {
    return Math.round(this._counted + this._running());
  }

  /** Whether time is being counted. */
  get isActive() {
    return this._isRunning && this._isSeen && performance.now() - this._last < IDLE_MS;
  }

  /** What is counted since the last input, in ms. */
  _running() {
    if (!this._isRunning || !this._isSeen) return 0;
    return Math.min(performance.now() - this._last, IDLE_MS);
  }

  _touch() {
    this._counted += this._running();
    this._last = performance.now();
  }

  _see(isSeen) {
    this._touch(); // to come back is input too
    this._isSeen = isSeen;
  }
}
