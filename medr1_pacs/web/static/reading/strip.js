// The frames of a series as a thin bar beside the picture: where one is, which are loaded, and which
// ones the model saw.

const CURRENT_MIN_PX = 4;

export class Strip {
  /** `onChoose(number)` is called with the frame that is pointed at. */
  constructor(element, onChoose) {
    this.element = element;
    this.canvas = document.createElement("canvas");
    element.append(this.canvas);
    element.setAttribute("role", "slider");
    element.setAttribute("aria-label", "Frame");
    element.setAttribute("aria-orientation", "vertical");
    element.setAttribute("aria-valuemin", "1");
    element.tabIndex = 0;
    const choose = (event) => {
      if (!(event.buttons & 1)) return;
      const box = element.getBoundingClientRect();
      const share = (event.clientY - box.top) / box.height;
      onChoose(Math.min(this.frames, Math.max(1, Math.ceil(share * this.frames))));
    };
    element.addEventListener("pointerdown", (event) => {
      element.setPointerCapture(event.pointerId);
      choose(event);
    });
    element.addEventListener("pointermove", choose);
    this.frames = 1;
  }

  /** `isLoaded(number)` tells of every frame. */
  draw({ frames, current, marks, isLoaded }) {
    this.frames = frames;
    this.element.hidden = frames < 2;
    this.element.setAttribute("aria-valuemax", String(frames));
    this.element.setAttribute("aria-valuenow", String(current));
    const seen = marks.includes(current) ? ", seen by the model" : "";
    this.element.setAttribute("aria-valuetext", `frame ${current} of ${frames}${seen}`);
    if (frames >= 2) this._paint(current, marks, isLoaded);
  }

  _paint(current, marks, isLoaded) {
    const ratio = window.devicePixelRatio;
    const width = Math.round(this.element.clientWidth * ratio);
    const height = Math.round(this.element.clientHeight * ratio);
    if (this.canvas.width !== width) this.canvas.width = width;
    if (this.canvas.height !== height) this.canvas.height = height;
    const context = this.canvas.getContext("2d");
    const style = getComputedStyle(this.element);
    const color = (name) => style.getPropertyValue(name);
    const top = (number) => Math.floor(((number - 1) / this.frames) * height);
    const bar = (number, least) => Math.max(least, top(number + 1) - top(number));
    context.clearRect(0, 0, width, height);
    context.fillStyle = color("--strip-loaded");
    for (let number = 1; number <= this.frames; number++) {
      if (isLoaded(number)) context.fillRect(0, top(number), width / 2, bar(number, 1));
    }
    const least = CURRENT_MIN_PX * ratio;
    const place = (number) => Math.min(top(number), height - bar(number, least));
    context.fillStyle = color("--strip-mark");
    for (const number of marks) {
      context.fillRect(width / 2, place(number), width / 2, bar(number, least / 2));
    }
    context.strokeStyle = color("--strip-current");
    context.lineWidth = 2 * ratio;
    const [line, size] = [context.lineWidth, bar(current, least)];
    context.strokeRect(line / 2, place(current) + line / 2, width - line, Math.max(1, size - line));
  }
}
