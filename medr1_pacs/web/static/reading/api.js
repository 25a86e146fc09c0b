// What the page asks of the service, and what becomes of it when it does not answer.

/** Why something was not done, in a sentence. `status`: of HTTP; 0 where nobody answered. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }

  get isSignedOut() {
    return this.status === 401;
  }

  /** The case is somebody else's by now, or over. */
  get isGone() {
    return this.status === 404;
  }

  /** Trying the same again may help. */
  get isAway() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

export class Api {
  /** `base` is the address of the protocol; the token is that of the page's forms. */
  constructor(base, token) {
    this.base = base;
    this._token = token;
  }

  openNext() {
    return this._ask("POST", "/next");
  }

  findUpcoming() {
    return this._ask("GET", "/upcoming");
  }

  getRead(read) {
    return this._ask("GET", `/reads/${read}`);
  }

  /** `isLast`: the page is being left, and what is sent has to survive it. */
  keepDraft(read, draft, activeMs, isLast = false) {
    const body = { draft, active_ms: activeMs };
    return this._ask("PUT", `/reads/${read}/draft`, body, isLast);
  }

  /** The answer holds the `next` case where nothing is left to be shown of this one. */
  lock(read, judgement, activeMs) {
    const body = { ...judgement, active_ms: activeMs, goes_on: true };
    return this._ask("POST", `/reads/${read}/lock`, body);
  }

  amend(read, judgement, reason) {
    return this._ask("POST", `/reads/${read}/amend`, { ...judgement, reason });
  }

  async _ask(method, path, body, isLast = false) {
    const token = this._token;
    let response = await this._send(method, path, body, isLast);
    // Who signed in again in another tab has another token: the page itself tells it.
    if (response.status === 403 && !isLast && (await this._findToken()) !== token) {
      response = await this._send(method, path, body, isLast);
    }
    if (!response.ok) throw new Refused(response.status, await reasonOf(response));
    return response.status === 204 ? null : response.json();
  }

  async _send(method, path, body, isLast) {
    const headers = { "X-CSRF-Token": this._token };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    try {
      return await fetch(this.base + path, {
        method,
        headers,
        body: body === undefined ? undefined : JSON.stringify(body),
        credentials: "same-origin",
        keepalive: isLast,
      });
    } catch {
      throw new Refused(0, "The service does not answer.");
    }
  }

  async _findToken() {
    const page = await fetch(window.location.href, { redirect: "manual" }).catch(() => null);
    if (page && page.ok) {
      const found = new DOMParser().parseFromString(await page.text(), "text/html");
      this._token = tokenOf(found) || this._token;
    }
    return this._token;
  }
}

/** The token of a page's forms. */
export function tokenOf(page) {
  const meta = page.querySelector('meta[name="csrf-token"]');
  return meta && meta.content;
}

async function reasonOf(response) {
  if (response.status === 401) return "You are no longer signed in.";
  const { detail } = await response.json().catch(() => ({}));
  if (typeof detail !== "string") return `The service answers with status ${response.status}.`;
  return sentence(detail);
}

function sentence(text) {
  const ended = /[.!?]$/.test(text) ? text : `${text}.`;
  return ended[0].toUpperCase() + ended.slice(1);
}
