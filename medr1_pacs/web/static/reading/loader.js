// Frames of a series, fetched before they are asked for: the current one first, then outward.

import { parseFrame } from "./frames.js";

const AWAY = new Set([429, 502, 503, 504]);
const ATTEMPTS = 3;
const WAIT_MS = 2000;

/** Why a frame is not there, in a sentence. */
class NotShown extends Error {
  constructor(message, isAway) {
    super(message);
    this.isAway = isAway; // trying again later may help
  }
}

export function frameUrl(series, number) {
  return series.url.replace("{n}", String(number));
}

/** 0 for the current frame, 1 for the next, 2 for the one before, and so on. */
function rankOf(number, current) {
  const ahead = number - current;
  return ahead > 0 ? 2 * ahead - 1 : -2 * ahead;
}

async function fetchFrame(url, signal) {
  let response;
  try {
    // A redirect leads to the sign-in.
    response = await fetch(url, { credentials: "same-origin", redirect: "manual", signal });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new NotShown("the service does not answer", true);
  }
  if (response.type === "opaqueredirect" || response.status === 401) {
    throw new NotShown("you are no longer signed in", false);
  }
  if (!response.ok) throw new NotShown(await reasonOf(response), AWAY.has(response.status));
  return parseFrame(await response.arrayBuffer());
}

async function reasonOf(response) {
  const type = response.headers.get("Content-Type") || "";
  if (type.startsWith("application/json")) {
    const { detail } = await response.json().catch(() => ({}));
    if (typeof detail === "string") return detail;
  }
  return `the service answers with status ${response.status}`;
}

/**
 * Fetches and holds frames.
 *
 * A series is {label, frames, url, marks}: the number of its frames, and an address in which {n}
 * stands for a frame's number, from 1. `onFrame(number)` and `onFailure(number)` tell what became
 * of a frame of the open series.
 */
export class FrameLoader {
  constructor({ parallel = 4, maxBytes = 768 * 2 ** 20, onFrame, onFailure } = {}) {
    this.parallel = parallel;
    this.maxBytes = maxBytes;
    this.onFrame = onFrame || (() => {});
    this.onFailure = onFailure || (() => {});
    this.series = null;
    this.current = 1;
    this.heldBytes = 0;
    this._urls = []; // of the open series
    this._held = new Map(); // url -> Frame, of other series too while there is room
    this._flying = new Map(); // url -> AbortController
    this._failures = new Map(); // url -> {error, attempts, again: a time in ms}
    this._preloads = []; // urls of other series
    this._frameBytes = 0;
    this._timer = 0;
  }

  /** Begin with a series: what is under way for another one is given up. */
  open(series, current = 1) {
    this.series = series;
    this.current = current;
    this._urls = Array.from({ length: series.frames }, (_, index) => frameUrl(series, index + 1));
    const urls = new Set(this._urls);
    this._preloads = this._preloads.filter((url) => !urls.has(url));
    for (const [url, controller] of this._flying) if (!urls.has(url)) controller.abort();
    this._failures.clear();
    this._pump();
  }

  /** Say which frame is looked at; one that failed is tried again. */
  move(current) {
    this.current = current;
    const url = frameUrl(this.series, current);
    const failure = this._failures.get(url);
    if (failure && failure.again === Infinity) this._failures.delete(url);
    this._pump();
  }

  /** Fetch frames of another series outward from one, once all of this one is there. */
  preload(series, count = 3, around = 1) {
    const numbers = Array.from({ length: series.frames }, (_, index) => index + 1)
      .sort((one, other) => rankOf(one, around) - rankOf(other, around))
      .slice(0, count);
    this._preloads.push(...numbers.map((number) => frameUrl(series, number)));
    this._pump();
  }

  get(number) {
    return this._held.get(frameUrl(this.series, number));
  }

  /** Why a frame is not there; undefined while it may still come. */
  failureOf(number) {
    const failure = this._failures.get(frameUrl(this.series, number));
    return failure && failure.error.message;
  }

  countLoaded() {
    return this._urls.filter((url) => this._held.has(url)).length;
  }

  close() {
    clearTimeout(this._timer);
    this.series = null;
    this._urls = [];
    this._preloads = [];
    for (const controller of this._flying.values()) controller.abort();
    this._held.clear();
    this.heldBytes = 0;
  }

  _pump() {
    while (this._flying.size < this.parallel) {
      const url = this._next();
      if (url === undefined) return;
      this._fetch(url);
    }
  }

  /** The most wanted frame for which there is room. */
  _next() {
    const now = performance.now();
    const isWanted = (url) => {
      const failure = this._failures.get(url);
      return !this._held.has(url) && !this._flying.has(url) && !(failure && failure.again > now);
    };
    const byRank = this._urls
      .map((url, index) => ({ url, rank: rankOf(index + 1, this.current) }))
      .sort((one, other) => one.rank - other.rank);
    const wanted = byRank.find(({ url }) => isWanted(url));
    if (wanted === undefined) {
      if (this._urls.some((url) => this._flying.has(url))) return undefined;
      const url = this._preloads.find(isWanted);
      return url !== undefined && this._hasRoom() ? url : undefined;
    }
    while (!this._hasRoom()) {
      const other = this._leastWantedOther();
      const last = byRank.filter(({ url }) => this._held.has(url)).at(-1);
      if (other) this._drop(other);
      else if (last && last.rank > wanted.rank) this._drop(last.url);
      // The current frame is shown however large it is.
      else return wanted.rank === 0 ? wanted.url : undefined;
    }
    return wanted.url;
  }

  /** A frame of another series: one that was looked at before one that may be next. */
  _leastWantedOther() {
    const others = [...this._held.keys()].filter((url) => !this._urls.includes(url));
    return others.find((url) => !this._preloads.includes(url)) || others[0];
  }

  _hasRoom() {
    const coming = (this._flying.size + 1) * this._frameBytes;
    return this.heldBytes + coming <= this.maxBytes;
  }

  _drop(url) {
    this.heldBytes -= this._held.get(url).bytes;
    this._held.delete(url);
  }

  async _fetch(url) {
    const controller = new AbortController();
    this._flying.set(url, controller);
    try {
      const frame = await fetchFrame(url, controller.signal);
      if (controller.signal.aborted) return;
      this._held.set(url, frame);
      this._failures.delete(url);
      this.heldBytes += frame.bytes;
      this._frameBytes = frame.bytes;
      this._tell(url, this.onFrame);
    } catch (error) {
      if (controller.signal.aborted) return;
      this._noteFailure(url, error);
      this._tell(url, this.onFailure);
    } finally {
      if (this._flying.get(url) === controller) this._flying.delete(url);
      this._pump();
    }
  }

  _noteFailure(url, error) {
    const attempts = ((this._failures.get(url) || {}).attempts || 0) + 1;
    const isTriedAgain = error.isAway && attempts < ATTEMPTS;
    const wait = WAIT_MS * 2 ** (attempts - 1);
    const again = isTriedAgain ? performance.now() + wait : Infinity;
    this._failures.set(url, { error, attempts, again });
    if (isTriedAgain) this._timer = setTimeout(() => this._pump(), wait + 1);
  }

  _tell(url, callback) {
    const index = this._urls.indexOf(url);
    if (index >= 0) callback(index + 1);
  }
}
