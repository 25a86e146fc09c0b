// What the hand does on a picture: drag, wheel, double click.
//
//   left drag                window: across its width, up and down its center; color: move
//   shift or middle drag     move
//   right drag, ctrl+wheel   zoom
//   wheel                    step through the series
//   double click             reset
//   with the ruler           left drag, or two clicks, measure

const NOTCH_PX = 120; // of a mouse wheel, as browsers tell it
const LINE_PX = 40;
const CLICK_PX = 4;
const ZOOM_PER_PX = 1.01;

export function attachPointer(viewer, element) {
  let drag = null;
  let wheeled = 0;

  const placeOf = (event) => {
    const box = element.getBoundingClientRect();
    const ratio = viewer.pixelRatio;
    return { x: (event.clientX - box.left) * ratio, y: (event.clientY - box.top) * ratio };
  };

  const purposeOf = (event) => {
    if (event.button === 1 || (event.button === 0 && event.shiftKey)) return "pan";
    if (event.button === 2) return "zoom";
    if (viewer.rulerMode) return "ruler";
    return viewer.frame && viewer.frame.isColor ? "pan" : "window";
  };

  element.addEventListener("pointerdown", (event) => {
    if (drag || !viewer.frame || event.button > 2) return;
    event.preventDefault();
    element.focus({ preventScroll: true });
    element.setPointerCapture(event.pointerId);
    const place = placeOf(event);
    drag = { purpose: purposeOf(event), start: place, last: place, pointer: event.pointerId };
    if (drag.purpose === "ruler") viewer.pressRuler(place);
    if (drag.purpose === "window") drag.window = viewer.beginWindow();
    viewer.beginDrag();
  });

  element.addEventListener("pointermove", (event) => {
    const place = placeOf(event);
    viewer.point(place);
    if (!drag || event.pointerId !== drag.pointer) {
      if (viewer.rulerMode) viewer.moveRuler(place);
      return;
    }
    const [x, y] = [place.x - drag.last.x, place.y - drag.last.y];
    const ratio = viewer.pixelRatio;
    drag.last = place;
    if (drag.purpose === "window") {
      drag.window((place.x - drag.start.x) / ratio, (place.y - drag.start.y) / ratio);
    } else if (drag.purpose === "pan") viewer.pan(x, y);
    else if (drag.purpose === "zoom") viewer.zoom(ZOOM_PER_PX ** (-y / ratio), drag.start);
    else viewer.moveRuler(place);
  });

  const end = (event) => {
    if (!drag || event.pointerId !== drag.pointer) return;
    const { purpose, start } = drag;
    const place = placeOf(event);
    const isClick = Math.hypot(place.x - start.x, place.y - start.y) < CLICK_PX * viewer.pixelRatio;
    drag = null;
    if (purpose === "ruler") viewer.releaseRuler(place, isClick);
    viewer.endDrag();
  };
  element.addEventListener("pointerup", end);
  element.addEventListener("pointercancel", end);
  element.addEventListener("pointerleave", () => viewer.point(null));
  element.addEventListener("contextmenu", (event) => event.preventDefault());
  element.addEventListener("dblclick", () => {
    if (!viewer.rulerMode) viewer.reset();
  });

  element.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const pixels = event.deltaY * (event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? 1 : LINE_PX);
      if (event.ctrlKey) {
        viewer.zoom(2 ** (-pixels / (4 * NOTCH_PX)), placeOf(event));
        return;
      }
      // A notch is a step; a touch pad's small ones add up to it.
      wheeled = Math.sign(pixels) === Math.sign(wheeled) ? wheeled + pixels : pixels;
      const steps = Math.abs(pixels) >= LINE_PX ? pixels / NOTCH_PX : wheeled / NOTCH_PX;
      if (Math.abs(pixels) < LINE_PX && Math.abs(steps) < 1) return;
      wheeled = 0;
      viewer.step(Math.sign(steps) * Math.max(1, Math.round(Math.abs(steps))));
    },
    { passive: false },
  );
}
