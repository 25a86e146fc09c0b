// Keeps what is filled in: soon after a change, now and then, and when the page is left.

const SOON_MS = 1_000;
const OFTEN_MS = 15_000;
const AGAIN_MS = [2_000, 5_000, 15_000]; // after one failure, two, and more

/**
 * `save(isLast)` sends what is filled in and throws `Refused`; `isActive()` tells whether somebody
 * is at it; `onSaved()` and `onFailure(refused, isTriedAgain)` say what became of it.
 */
export class Drafts {
  constructor({ save, isActive, onSaved, onFailure }) {
    Object.assign(this, { save, isActive, onSaved, onFailure });
    this._isOpen = false;
    this._isChanged = false;
    this._failures = 0;
    this._timer = 0;
    this._flying = null;
    setInterval(() => this._isOpen && this.isActive() && this._save(), OFTEN_MS);
    window.addEventListener("pagehide", () => this._isOpen && this.save(true).catch(() => {}));
  }

  /** A case is open from now on. */
  begin() {
    this._isOpen = true;
    this._isChanged = false;
    this._failures = 0;
  }

  /** No more is kept of it; resolves when nothing is under way. */
  async end() {
    this._isOpen = false;
    clearTimeout(this._timer);
    await this._flying;
  }

  /** Something was filled in. */
  note() {
    if (!this._isOpen) return;
    this._isChanged = true;
    this._plan(SOON_MS);
  }

  /** Keep now what is not kept yet. */
  async flush() {
    clearTimeout(this._timer);
    await this._flying;
    if (this._isOpen && this._isChanged) await this._save();
  }

  _plan(wait) {
    clearTimeout(this._timer);
    this._timer = setTimeout(() => this._save(), wait);
  }

  _save() {
    // One at a time: an older one must not arrive after a newer one.
    if (!this._flying) {
      this._flying = this._send().finally(() => (this._flying = null));
    } else this._plan(SOON_MS);
    return this._flying;
  }

  async _send() {
    this._isChanged = false;
    try {
      await this.save(false);
      this._failures = 0;
      if (this._isOpen) this.onSaved();
    } catch (refused) {
      if (!this._isOpen) return;
      this._isChanged = true;
      const wait = AGAIN_MS[Math.min(this._failures, AGAIN_MS.length - 1)];
      this._failures += 1;
      const isTriedAgain = refused.isAway || refused.isSignedOut;
      this.onFailure(refused, isTriedAgain);
      if (isTriedAgain) this._plan(wait);
    }
  }
}
