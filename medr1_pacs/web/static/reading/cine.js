// Shows the frames of a viewer's series one after the other.

const RATE = 10; // frames per second where the object names none
const EARLY_MS = 4; // a frame may come so early: the next picture of the screen would be late

export class Cine {
  constructor(viewer) {
    this.viewer = viewer;
    this.isPlaying = false;
    this.rate = RATE;
  }

  /** Begin, or go on at another rate, in frames per second. */
  play(rate) {
    const { series } = this.viewer;
    if (!series || series.frames < 2) return;
    this.rate = rate || RATE;
    if (this.isPlaying) return;
    this.isPlaying = true;
    this._due = performance.now() + 1000 / this.rate;
    this._await();
  }

  pause() {
    this.isPlaying = false;
    cancelAnimationFrame(this._request);
  }

  _await() {
    this._request = requestAnimationFrame((now) => this._tick(now));
  }

  _tick(now) {
    this._await();
    if (now < this._due - EARLY_MS) return;
    const { series, loader, number } = this.viewer;
    const next = (number % series.frames) + 1;
    // It waits for a frame that is not there yet, and passes over one that will not come.
    if (!loader.get(next) && !loader.failureOf(next)) return;
    // A late frame is not made up for: none is left out.
    const period = 1000 / this.rate;
    this._due = Math.max(this._due, now - period) + period;
    this.viewer.show(next);
    this.viewer.drawRequested(); // asked for, it would come with the next picture of the screen
  }
}
