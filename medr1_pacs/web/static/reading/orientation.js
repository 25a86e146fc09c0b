// The letters of the patient's sides at the edges of the canvas.

export function drawOrientation(context, view, orientation, ratio) {
  const inset = 14 * ratio;
  const { width, height } = view;
  context.font = `600 ${15 * ratio}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  context.lineJoin = "round";
  context.lineWidth = 3 * ratio;
  context.strokeStyle = "rgb(0 0 0 / 80%)";
  context.fillStyle = "#dfe7ea";
  for (const [side, align, x, y] of [
    ["left", "left", inset, height / 2],
    ["right", "right", width - inset, height / 2],
    ["top", "center", width / 2, inset],
    ["bottom", "center", width / 2, height - inset],
  ]) {
    context.textAlign = align;
    context.strokeText(orientation[side], x, y);
    context.fillText(orientation[side], x, y);
  }
  context.textAlign = "left";
}
