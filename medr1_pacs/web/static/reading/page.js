// The reading page: a case is opened, judged, locked, and the next one opened.

import { Api, tokenOf } from "./api.js";
import { ActiveClock } from "./clock.js";
import { Drafts } from "./drafts.js";
import { Evidence } from "./evidence.js";
import { attachKeys, describeKeys, digitOf, isTyping, shortcut } from "./keys.js";
import { Panel, beginningOf, lockedOf } from "./panel.js";
import { Presets, SeriesList, buildTools } from "./tools.js";
import { ACTIONS, Viewer } from "./viewer.js";

const find = (id) => document.getElementById(id);

const STEP = 5; // of the confidence, by arrow
const AHEAD = 5; // frames of the next case that are fetched before it is opened

/** What the button does, by what the page is at. */
const SAYS = {
  opening: "Opening",
  unopened: "Try again",
  reading: "Lock, next case",
  feedback: "Next case",
  earlier: "Back to the open case",
  amending: "Amend",
  gone: "Next case",
};

class ReadingPage {
  constructor() {
    this.api = new Api(document.body.dataset.api, tokenOf(document));
    this.clock = new ActiveClock();
    this.open = null; // the case that is open, or was locked last
    this.shown = null; // the case that is seen: the open one, or an earlier one
    this.history = []; // what was locked in this sitting, by number of the read
    this.at = null; // which of them is seen
    this.state = "opening";
    this.isBusy = false;
    this.panel = new Panel(() => this.state === "reading" && this.drafts.note());
    this.drafts = new Drafts({
      save: (isLast) =>
        this.api.keepDraft(this.open.read, this.panel.values(), this.clock.read(), isLast),
      isActive: () => this.clock.isActive,
      onSaved: () => this._noteSaved("Saved"),
      onFailure: (refused, isTriedAgain) => this._sayUnsaved(refused, isTriedAgain),
    });
    this._buildViewer();
    this._listen();
    this.openNext();
  }

  // -- cases -------------------------------------------------------------------------------------

  async openNext() {
    await this._alone(async () => {
      this._become("opening");
      try {
        const { case: read, progress } = await this.api.openNext();
        this._writeProgress(progress);
        this._arrive(read, progress);
      } catch (refused) {
        this._become("unopened");
        this._sayRefused(refused);
      }
    });
  }

  /** Do what the button says. */
  async submit() {
    if (this.state === "reading") await this._lock();
    else if (this.state === "amending") await this._amend();
    else if (this.state === "earlier") await this.showNext();
    else if (this.state !== "opening") await this.openNext();
  }

  async _lock() {
    await this._alone(async () => {
      await this.drafts.end();
      try {
        const answer = await this.api.lock(
          this.open.read,
          this.panel.values(),
          this.clock.read(),
        );
        this._follow(answer);
      } catch (refused) {
        this._failLock(refused);
      }
    });
  }

  /** Show what a lock led to: the model's side, what is true, or the next case. */
  _follow({ case: read, next, progress }) {
    this._writeProgress(progress);
    if (read && read.phase !== null) {
      this._reveal(read);
      return;
    }
    if (read) this.history.push(read.read); // else it is closed at once
    this.clock.stop();
    if (next === undefined) this._showFeedback(read);
    else this._arrive(next, progress);
  }

  _arrive(read, progress) {
    if (read) this._begin(read);
    else this._showNothing(progress);
  }

  _failLock(refused) {
    if (refused.isGone) {
      this._loseCase(refused);
      return;
    }
    this.drafts.begin();
    this.drafts.note(); // what is filled in is not lost by that
    this._sayRefused(refused);
  }

  /** Look at what was locked earlier in this sitting. */
  async showPrevious() {
    if (this.isBusy || this.state === "amending") return;
    const at = this.at === null ? this._countEarlier() - 1 : this.at - 1;
    if (at < 0) {
      this.panel.say("Nothing earlier was locked since this page was opened.");
      return;
    }
    await this._showEarlier(at);
  }

  /** Leave the open case as it stands, to come back to it. */
  async _leaveOpen() {
    this.open.draft = this.panel.values();
    this.open.left = { series: this.seriesList.at, frame: this.viewer.number };
    await this.drafts.flush();
    this.open.active_ms = this.clock.read();
    await this.drafts.end();
    this.clock.stop();
  }

  async showNext() {
    if (this.isBusy || this.state === "amending") return;
    if (this.at === null) {
      if (this.state === "feedback" || this.state === "gone") await this.openNext();
      else if (this.state === "reading") this.panel.say("This case comes first: lock it.");
    } else if (this.at + 1 < this._countEarlier()) await this._showEarlier(this.at + 1);
    else if (this.open && this.open.phase !== null) this._begin(this.open, this.open.left);
    else await this.openNext();
  }

  /** How many earlier cases there are beside the one that is seen after its lock. */
  _countEarlier() {
    return this.history.length - (this.state === "feedback" ? 1 : 0);
  }

  async _showEarlier(at) {
    await this._alone(async () => {
      try {
        const { case: read } = await this.api.getRead(this.history[at]);
        if (this.state === "reading") await this._leaveOpen();
        this.at = at;
        this._look(read);
      } catch (refused) {
        this._sayRefused(refused);
      }
    });
  }

  beginAmending() {
    if (this.state !== "earlier" || this.isBusy) return;
    this._become("amending");
    this.panel.close(false);
    this.panel.askReason(true);
  }

  cancelAmending() {
    this._look(this.shown);
  }

  async _amend() {
    await this._alone(async () => {
      const judgement = { ...this.panel.values(), phase: this.shown.locked.at(-1).phase };
      try {
        const { read } = this.shown;
        const answer = await this.api.amend(read, judgement, this.panel.reason);
        this._look(answer.case);
        this._noteSaved("Amended; both answers are kept");
      } catch (refused) {
        this._sayRefused(refused);
      }
    });
  }

  // -- what is seen ------------------------------------------------------------------------------

  /** Show a case that is to be judged. */
  _begin(read, left) {
    this.open = this.shown = read;
    this.at = null;
    this._isAhead = false;
    this._seeCase(true);
    this._become("reading");
    this.panel.showFeedback(null);
    this.panel.show(read, beginningOf(read), { isOpen: true });
    this.evidence.show(read);
    this.seriesList.open(read.series, left || read.start);
    this.clock.start(read.active_ms);
    this.drafts.begin();
    this._noteSaved("");
    this.panel.focusQuestion();
  }

  /** Show what a lock revealed of the case, whose pictures stay as they are. */
  _reveal(read) {
    this.open = this.shown = read;
    this._become("reading");
    this.panel.show(read, beginningOf(read), { isOpen: true });
    this.evidence.show(read);
    this.seriesList.reveal(read.series);
    this.clock.start(read.active_ms);
    this.drafts.begin();
    this._noteSaved("");
    this.panel.focusQuestion();
  }

  _showFeedback(read) {
    this.open = this.shown = read;
    this._become("feedback");
    this.panel.show(read, lockedOf(read), { isOpen: false });
    this.panel.showFeedback(read.feedback);
    this.evidence.show(read);
    this.seriesList.reveal(read.series);
    this.panel.focusQuestion();
  }

  /** Show a case that is locked. */
  _look(read) {
    const isAnother = !this.shown || this.shown.read !== read.read || this.state !== "amending";
    this.shown = read;
    this._seeCase(true);
    this._become("earlier");
    this.panel.showFeedback(null);
    this.panel.show(read, lockedOf(read), { isOpen: false });
    this.panel.showFeedback(read.feedback);
    this.evidence.show(read);
    if (isAnother) this.seriesList.open(read.series, read.start);
    this._noteSaved("");
    this.panel.focusQuestion();
  }

  _showNothing(progress) {
    this.open = this.shown = null;
    this.at = null;
    this._seeCase(false);
    this._become("nothing");
    this.clock.stop();
    this.viewer.pause();
    const [title, text] = describeNothing(progress, document.body.dataset.part);
    find("nothing-title").textContent = title;
    find("nothing-says").textContent = text;
    find("nothing-title").focus();
  }

  _seeCase(isSeen) {
    document.body.classList.toggle("has-no-case", !isSeen);
    find("nothing").hidden = isSeen;
  }

  _loseCase(refused) {
    this.clock.stop();
    this.open = null;
    this._become("gone");
    this.panel.close(true);
    this._noteSaved("");
    this.panel.say(refused.message);
  }

  _become(state) {
    this.state = state;
    const follows = this.open && this.open.phases.indexOf(this.open.phase) + 1;
    const isRevealing = state === "reading" && follows < this.open.phases.length;
    const isEnd = state === "earlier" && !(this.open && this.open.phase !== null);
    find("submit-says").textContent = isRevealing
      ? "Lock, then see the model"
      : isEnd
        ? "Next case"
        : SAYS[state] || "";
    find("amend").hidden = state !== "earlier";
    for (const name of ["previous", "next"]) find(name).hidden = state === "amending";
    find("give-up").hidden = state !== "amending";
    document.body.dataset.state = state;
  }

  _writeProgress({ done, left }) {
    find("progress").textContent = `${done} done, ${left} left`;
    find("bar").max = Math.max(1, done + left);
    find("bar").value = done;
  }

  // -- what is said ------------------------------------------------------------------------------

  _sayRefused(refused) {
    if (refused.isSignedOut) {
      const link = { href: "/sign-in", text: "Sign in again in another tab" };
      this.panel.say(`${refused.message} What you filled in is still here.`, link);
    } else this.panel.say(refused.message);
  }

  _sayUnsaved(refused, isTriedAgain) {
    if (refused.isGone) {
      this.drafts.end();
      this._loseCase(refused);
      return;
    }
    this._noteSaved(isTriedAgain ? "Not saved yet; trying again" : "Not saved");
    this._sayRefused(refused);
  }

  _noteSaved(text) {
    find("saved").textContent = text;
    // What could not be saved was, meanwhile.
    if (text === "Saved" && this._wasUnsaved) this.panel.say("");
    this._wasUnsaved = text.startsWith("Not saved");
  }

  // -- wiring ------------------------------------------------------------------------------------

  /** Do one thing at a time: what is asked for meanwhile was meant for it. */
  async _alone(act) {
    if (this.isBusy) return;
    this.isBusy = true;
    find("submit").setAttribute("aria-disabled", "true");
    try {
      await act();
    } finally {
      this.isBusy = false;
      find("submit").removeAttribute("aria-disabled");
    }
  }

  _buildViewer() {
    const named = { frame: "frame", window: "window", value: "value", zoom: "zoom", mark: "mark" };
    const status = Object.fromEntries(Object.entries(named).map(([key, id]) => [key, find(id)]));
    status.message = find("frame-message");
    this.viewer = new Viewer(find("viewer"), { status });
    this.seriesList = new SeriesList(find("series"), this.viewer);
    this.presets = new Presets(find("presets"), this.viewer);
    this.evidence = new Evidence(
      find("evidence"),
      find("evidence-title"),
      find("evidence-parts"),
      (series, frame) => this.seriesList.show(series, frame),
    );
    buildTools(find("tools"), ACTIONS, this.viewer);
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      if (this.viewer.series) this.viewer.mark(this.viewer.series.marks); // the strip's colors too
    });
    this.viewer.addEventListener("frame", () => {
      find("series-name").textContent = this.seriesList.label;
    });
    this.viewer.addEventListener("load", ({ detail }) => {
      if (detail.loaded === detail.frames) this._fetchAhead();
    });
  }

  /** Fetch what is needed to open the next case at once, when all of this one's series is there. */
  async _fetchAhead() {
    if (this._isAhead || this.state !== "reading") return;
    this._isAhead = true;
    const upcoming = await this.api.findUpcoming().catch(() => null);
    if (!upcoming || upcoming.read === null) return;
    const { series, start } = upcoming;
    this.viewer.preload(series[start.series], AHEAD, start.frame);
    for (const [place, each] of this.open ? this.open.series.entries() : []) {
      if (place !== this.seriesList.at) {
        this.viewer.preload(each, AHEAD, Math.floor(each.frames / 2) + 1);
      }
    }
  }

  _listen() {
    find("submit").addEventListener("click", () => this.submit());
    find("previous").addEventListener("click", () => this.showPrevious());
    find("next").addEventListener("click", () => this.showNext());
    find("amend").addEventListener("click", () => this.beginAmending());
    find("give-up").addEventListener("click", () => this.cancelAmending());
    find("again").addEventListener("click", () => this.openNext());
    find("show-help").addEventListener("click", () => find("help").showModal());
    const shortcuts = this._shortcuts();
    attachKeys(shortcuts);
    describeKeys(shortcuts, find("help-groups"));
  }

  _shortcuts() {
    const { panel, evidence, seriesList, viewer } = this;
    const isDigit = (isShifted) => (event) => event.shiftKey === isShifted && digitOf(event) !== null;
    const isKey = (name) => (event) => event.key === name;
    const flags = [...find("flags").querySelectorAll("button")].map(({ dataset }) =>
      shortcut("Answer", dataset.key, dataset.label, () => panel.toggleFlag(dataset.flag)),
    );
    const pictures = ACTIONS.map(({ key, on, label, run }) =>
      shortcut("Pictures", key, label, () => run(viewer), {
        is: (event) =>
          on.includes(event.key) && !event.ctrlKey && !event.altKey && !event.metaKey &&
          !(event.key === " " && event.target.closest("button, a, input, summary")),
      }),
    );
    return [
      shortcut("Cases", "Ctrl+Enter", "Lock, and go on", () => this.submit(), {
        is: (event) => event.key === "Enter" && (event.ctrlKey || event.metaKey),
        isForText: true,
      }),
      shortcut("Cases", "N", "Next case", () => this.showNext()),
      shortcut("Cases", "P", "Earlier cases of this sitting", () => this.showPrevious()),
      shortcut("Cases", "A", "Amend an earlier case", () => this.beginAmending()),
      shortcut("Cases", "?", "All keys", () => find("help").showModal()),
      shortcut("Answer", "1-9", "Choose an option", (event) => this._takeDigit(digitOf(event)), {
        is: isDigit(false),
      }),
      shortcut("Answer", "Shift+1-9", "Confidence 10 to 90", (event) => this._takeShare(event), {
        is: (event) => isDigit(true)(event) && digitOf(event) !== 0,
      }),
      shortcut("Answer", "Shift+0", "Confidence 100", () => panel.setConfidence(100), {
        is: (event) => isDigit(true)(event) && digitOf(event) === 0,
      }),
      shortcut("Answer", "\u2190", "Less confident by 5, on the scale", () => this._nudge(-STEP), {
        is: isKey("ArrowLeft"),
      }),
      shortcut("Answer", "\u2192", "More confident by 5, on the scale", () => this._nudge(STEP), {
        is: isKey("ArrowRight"),
      }),
      shortcut("Answer", "X", "Cannot be assessed, and why", () => panel.toggleCannotAssess()),
      ...flags,
      shortcut("Answer", "C", "Comment", () => panel.writeComment()),
      shortcut("Answer", "Esc", "Leave a text; give up an amendment", () => this._leave(), {
        is: isKey("Escape"),
        isForText: true,
      }),
      shortcut("The model", "M", "Next picture that it saw", () => evidence.jumpNext()),
      shortcut("The model", "G", "Grade its reasoning: then 1 to 5", () => panel.awaitDigit("grade")),
      shortcut("The model", "E", "Its error: then 1 to 6", () => panel.awaitDigit("error")),
      shortcut("Pictures", "[", "Previous series", () => seriesList.step(-1)),
      shortcut("Pictures", "]", "Next series", () => seriesList.step(1)),
      ...pictures,
    ];
  }

  /** A digit is an option, or a grade where the reasoning is judged; 0 is for the pictures. */
  _takeDigit(digit) {
    if (this.panel.takeDigit(digit)) return true;
    if (digit === 0) return false;
    this.panel.choose(digit);
    return true;
  }

  _takeShare(event) {
    this.panel.setConfidence(10 * digitOf(event));
  }

  _nudge(step) {
    if (document.activeElement.id !== "confidence") return false;
    this.panel.stepConfidence(step);
    return true;
  }

  _leave() {
    if (isTyping(document.activeElement)) {
      this.panel.focusQuestion();
      return true;
    }
    if (this.state !== "amending") return false;
    this.cancelAmending();
    return true;
  }
}

/** Why there is no case: a title, and what to do. */
function describeNothing({ left, due_at }, part) {
  if (due_at) {
    const due = new Date(due_at).toLocaleString("en-GB", { dateStyle: "full", timeStyle: "short" });
    return ["Nothing to read today", `The next case is due on ${due}. Thank you.`];
  }
  if (left) {
    return ["Nothing to read at the moment", "Other readers have open what is left. Thank you."];
  }
  const more = part === "adjudicator" ? " Where readers disagree, their case will come here." : "";
  return ["Nothing is left to read", `Everything that was yours is locked. Thank you.${more}`];
}

new ReadingPage();
