// What a phase shows beside the pictures: the model's side, or what the readers said.

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

/** What somebody said of a case, in a line. */
export function describeAnswer({ choice_text, cannot_assess, confidence }) {
  if (cannot_assess) return `Cannot be assessed: ${cannot_assess}`;
  const sure = confidence === null || confidence === undefined ? "" : `, confidence ${confidence}`;
  return `${choice_text}${sure}`;
}

export class Evidence {
  /** `onJump(series, frame)` leads to a picture in its series; both as in the case. */
  constructor(place, title, parts, onJump) {
    Object.assign(this, { place, title, parts, onJump });
    this.clear();
  }

  clear() {
    this.place.hidden = true;
    this.parts.replaceChildren();
    this._targets = [];
    this._at = -1;
  }

  show({ model, others, series }) {
    this.clear();
    if (model) this._showModel(model, series);
    else if (others.length) this._showReaders(others);
    this.place.scrollTop = 0;
  }

  /** Lead to the next picture that the model saw. */
  jumpNext() {
    if (!this._targets.length) return false;
    this._at = (this._at + 1) % this._targets.length;
    const { series, frame } = this._targets[this._at];
    this.onJump(series, frame);
    return true;
  }

  _open(title) {
    this.title.textContent = title;
    this.place.hidden = false;
  }

  _showModel(model, series) {
    this._open("What the model said");
    if (model.pictures.some(({ series: place }) => place !== null)) {
      const keys = element("span", "keys");
      keys.append(element("kbd", "", "M"), " next picture");
      this.title.append(keys);
    }
    if (model.is_demo) this.title.append(element("span", "demo", "demo"));
    const several = model.pictures.length > 1;
    const whole = element("p", "whole");
    whole.append(element("strong", "", model.choice_text || "No answer was found"));
    if (several) whole.append(`, from ${model.pictures.length} pictures together`);
    this.parts.append(whole);
    const list = element("ol", several ? "saw several" : "saw");
    model.pictures.forEach((picture, place) => {
      list.append(this._picture(picture, place, series, several));
    });
    this.parts.append(list);
  }

  _picture(picture, place, series, several) {
    const item = element("li");
    const isThere = picture.series !== null;
    const button = element(isThere ? "button" : "div", "jump");
    const image = element("img");
    image.src = picture.url;
    image.alt = `Picture ${place + 1} as the model saw it`;
    button.append(image);
    if (isThere) {
      const target = { series: picture.series, frame: picture.frame };
      const among = series.length > 1 ? `series ${picture.series + 1}, ` : "";
      button.type = "button";
      button.append(element("span", "where", `${among}frame ${picture.frame}`));
      button.addEventListener("click", () => {
        this._at = this._targets.indexOf(target);
        this.onJump(target.series, target.frame);
      });
      this._targets.push(target);
    }
    const said = element("div", "said");
    if (several) said.append(element("strong", "", picture.choice_text || "No answer"));
    said.append(element("p", "why", picture.reasoning || "It gave no reasoning."));
    item.append(button, said);
    return item;
  }

  _showReaders(others) {
    this._open("What the readers said");
    const list = element("ul", "readers");
    for (const other of others) {
      const item = element("li");
      item.append(element("h3", "", other.label), element("p", "whole", describeAnswer(other)));
      if (other.comment) item.append(element("p", "why", other.comment));
      list.append(item);
    }
    this.parts.append(list);
  }
}
