// What a reader fills in: choice, confidence, flags, comment, and the grade of the reasoning.

import { describeAnswer } from "./evidence.js";

const find = (id) => document.getElementById(id);

export const NOTHING = {
  choice_text: null,
  cannot_assess: null, // a text, empty as long as no reason is given; null: it can be assessed
  confidence: null,
  flags: [],
  reasoning_grade: null,
  reasoning_error: null,
  comment: null,
};

const PHASES = { blind: "On your own", assisted: "With the model", adjudication: "Adjudication" };

/** What is filled in when a phase begins: a draft of it, else what was locked just before. */
export function beginningOf({ phase, draft, locked }) {
  if (draft && draft.phase === phase) return draft;
  const { choice_text, cannot_assess, confidence } = locked.at(-1) || NOTHING;
  return { ...NOTHING, choice_text, cannot_assess, confidence };
}

/** What is locked last. */
export function lockedOf({ locked }) {
  return locked.at(-1) || NOTHING;
}

export class Panel {
  /** `onChange()` is called when a person filled something in. */
  constructor(onChange) {
    this._onChange = onChange;
    this._phase = null;
    this._values = { ...NOTHING };
    this._listen();
  }

  /** Show a case: its question, what is locked of it, and what is filled in. */
  show(read, values, { isOpen }) {
    this._phase = read.phase;
    this._read = read;
    const { stem, options } = read.question;
    find("question").textContent = stem;
    this._writeSteps(read);
    this._writeLocked(read);
    this._writeOptions(options);
    const hasModel = read.model !== null;
    find("grading").hidden = !hasModel;
    this._hasReasoning = hasModel && read.model.pictures.some(({ reasoning }) => reasoning);
    find("grade").classList.toggle("is-needed", this._hasReasoning);
    find("flags").querySelector('[data-flag="hallucinated_finding"]').hidden = !hasModel;
    this.close(!isOpen);
    this.askReason(false);
    this.say("");
    this.fill(values);
    find("panel").querySelector(".scroll").scrollTop = 0;
  }

  /** Fill everything in, as it was kept or locked. */
  fill(values) {
    this._values = Object.fromEntries(
      Object.entries(NOTHING).map(([name, nothing]) => [name, values[name] ?? nothing]),
    );
    find("comment").value = values.comment || "";
    find("why").value = values.cannot_assess || "";
    this._write();
  }

  /** What is filled in, for a draft or a lock. */
  values() {
    const { cannot_assess, comment } = this._values;
    const texts = { cannot_assess: wellFormed(cannot_assess), comment: wellFormed(comment) };
    return { phase: this._phase, ...this._values, ...texts };
  }

  /** Nothing can be filled in. */
  close(isClosed) {
    find("answer").disabled = isClosed;
  }

  get isClosed() {
    return find("answer").disabled;
  }

  /** Take the option of a place from 1. */
  choose(place) {
    const choice = this.isClosed ? undefined : this._read.question.options[place - 1];
    if (choice !== undefined) this._change({ choice_text: choice, cannot_assess: null });
  }

  setConfidence(confidence) {
    if (this.isClosed || this._values.cannot_assess !== null) return;
    this._change({ confidence: Math.min(100, Math.max(0, confidence)) });
  }

  stepConfidence(step) {
    const { confidence } = this._values;
    this.setConfidence((confidence === null ? 50 : confidence) + step);
  }

  toggleCannotAssess() {
    if (this.isClosed) return;
    if (this._values.cannot_assess === null) {
      this._change({ cannot_assess: find("why").value, choice_text: null, confidence: null });
      find("why").focus();
    } else this._change({ cannot_assess: null });
  }

  toggleFlag(flag) {
    if (this.isClosed || find("flags").querySelector(`[data-flag="${flag}"]`).hidden) return;
    const flags = new Set(this._values.flags);
    if (!flags.delete(flag)) flags.add(flag);
    this._change({ flags: [...flags].sort() });
  }

  /** Let the next digit be the grade, or the error, of the reasoning. */
  awaitDigit(group) {
    if (this.isClosed || find("grading").hidden) return;
    const inputs = [...find(group).querySelectorAll("input")];
    (inputs.find((input) => input.checked) || inputs[0]).focus();
  }

  /** Take a digit where the reasoning is judged; tells whether it was for that. */
  takeDigit(digit) {
    const group = document.activeElement.closest("#grade, #error");
    if (!group || this.isClosed) return false;
    const input = group.querySelectorAll("input")[digit - 1];
    if (!input) return true; // no answer to the question is chosen by mistake
    this._takeRadio(input);
    this.focusQuestion();
    return true;
  }

  writeComment() {
    if (!this.isClosed) find("comment").focus();
  }

  focusQuestion() {
    find("question").focus({ preventScroll: true });
  }

  askReason(isAsked) {
    find("reason-part").hidden = !isAsked;
    find("reason").value = "";
    if (isAsked) find("reason").focus();
  }

  get reason() {
    return wellFormed(find("reason").value);
  }

  /** Say something at the button; with a link where there is one. */
  say(text, link) {
    const place = find("message");
    place.replaceChildren(text);
    if (link) {
      const anchor = document.createElement("a");
      anchor.href = link.href;
      anchor.target = "_blank";
      anchor.rel = "noopener";
      anchor.textContent = link.text;
      place.append(" ", anchor);
    }
    place.hidden = !text;
  }

  /** Tell what is true, or take it back. */
  showFeedback(feedback) {
    const place = find("feedback");
    place.hidden = !feedback;
    if (!feedback) return;
    place.className = `feedback ${feedback.is_right ? "is-right" : "is-wrong"}`;
    const said = document.createElement("strong");
    said.textContent = feedback.is_right ? "Right. " : "Not right. ";
    place.replaceChildren(said, `The truth is: ${feedback.truth}`);
    for (const label of find("options").querySelectorAll("label")) {
      label.classList.toggle("is-true", label.dataset.text === feedback.truth);
    }
  }

  _writeSteps({ is_practice, phases, phase }) {
    const place = find("steps");
    place.replaceChildren();
    if (is_practice) place.append(make("span", "practice", "Practice"));
    for (const each of phases) {
      const step = make("span", "", PHASES[each]);
      if (each === phase) step.setAttribute("aria-current", "step");
      place.append(step);
    }
  }

  _writeLocked({ locked }) {
    const place = find("locked");
    place.hidden = !locked.length;
    place.replaceChildren(
      ...locked.map((each) => {
        const line = make("p");
        const when = each.version > 1 ? "Amended" : "Locked";
        line.append(make("span", "", `${when}, ${PHASES[each.phase].toLowerCase()}: `));
        line.append(make("strong", "", describeAnswer(each)));
        return line;
      }),
    );
  }

  _writeOptions(options) {
    find("options").replaceChildren(
      ...options.map((option, index) => {
        const label = make("label");
        const input = make("input");
        Object.assign(input, { type: "radio", name: "choice", value: String(index + 1) });
        label.dataset.text = option;
        label.append(input, make("kbd", "", String(index + 1)), make("span", "", option));
        return label;
      }),
    );
  }

  _listen() {
    const form = find("panel");
    form.addEventListener("submit", (event) => event.preventDefault()); // Enter locks nothing
    form.addEventListener("change", ({ target }) => {
      if (target.type === "radio") this._takeRadio(target);
    });
    form.addEventListener("input", ({ target }) => {
      if (target.id === "confidence") this.setConfidence(Number(target.value));
      if (target.id === "comment") this._change({ comment: target.value || null });
      if (target.id === "why" && this._values.cannot_assess !== null) {
        this._change({ cannot_assess: target.value });
      }
    });
    find("cannot").addEventListener("click", () => this.toggleCannotAssess());
    for (const button of find("flags").querySelectorAll("button")) {
      button.addEventListener("click", () => this.toggleFlag(button.dataset.flag));
    }
    // A click where the range stands already is an answer too.
    find("confidence").addEventListener("pointerup", ({ target }) =>
      this.setConfidence(Number(target.value)),
    );
  }

  _takeRadio({ name, value }) {
    if (name === "choice") this.choose(Number(value));
    if (name === "grade") this._change({ reasoning_grade: Number(value) });
    if (name === "error") this._change({ reasoning_error: value });
  }

  _change(changes) {
    Object.assign(this._values, changes);
    this.say("");
    this._write();
    this._onChange();
  }

  _write() {
    const values = this._values;
    const isUnseen = values.cannot_assess !== null;
    const check = (group, value) => {
      for (const input of find(group).querySelectorAll("input")) input.checked = input.value === value;
    };
    check("options", String(this._read.question.options.indexOf(values.choice_text) + 1));
    check("grade", String(values.reasoning_grade));
    check("error", values.reasoning_error);
    find("cannot").setAttribute("aria-pressed", String(isUnseen));
    find("why-part").hidden = !isUnseen;
    find("confidence-part").hidden = isUnseen;
    this._writeConfidence(values.confidence);
    for (const button of find("flags").querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(values.flags.includes(button.dataset.flag)));
    }
  }

  _writeConfidence(confidence) {
    const range = find("confidence");
    range.classList.toggle("is-unset", confidence === null);
    range.value = String(confidence === null ? 50 : confidence);
    range.setAttribute("aria-valuetext", confidence === null ? "not given" : String(confidence));
    find("confidence-said").textContent = confidence === null ? "–" : String(confidence);
  }
}

/** A text without half a letter, as a cut at the longest length may leave it: it is not taken. */
function wellFormed(text) {
  return text?.toWellFormed ? text.toWellFormed() : text;
}

function make(name, className = "", text = "") {
  const element = document.createElement(name);
  if (className) element.className = className;
  element.textContent = text;
  return element;
}
