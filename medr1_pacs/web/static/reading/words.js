// What a reader is told beside the picture.

export function formatNumber(number) {
  if (Number.isInteger(number)) return String(number).replace("-", "\u2212");
  return String(Number(number.toPrecision(5))).replace("-", "\u2212");
}

/** What is under the cursor, as `Frame.valueAt` gives it. */
export function describeValue(found) {
  if (found === null) return "";
  if (found.rgb) return `RGB ${found.rgb.join(" ")}`;
  if (found.isPadding) return "no picture here";
  const about = found.step ? "\u2248\u2009" : "";
  const units = found.units ? `\u2009${found.units}` : "";
  return `${about}${formatNumber(found.value)}${units}`;
}

/** A VOI, with the name that somebody gave it. */
export function describeVoi(voi) {
  if (voi === null) return "";
  const name = voi.name || "";
  if (voi.display) return `lookup table ${name}`.trim();
  const curve = { SIGMOID: " sigmoid", LINEAR_EXACT: " exact" }[voi.function] || "";
  return `C ${formatNumber(voi.center)}  W ${formatNumber(voi.width)}${curve}  ${name}`.trim();
}

/** The length of a line of two places in picture coordinates, or why there is none in mm. */
export function describeLength(frame, { from, to }) {
  const [columns, rows] = [to.x - from.x, to.y - from.y];
  if (!frame.spacing) return `${Math.hypot(columns, rows).toFixed(1)} px; size of a pixel unknown`;
  const { rows_mm, columns_mm, kind } = frame.spacing;
  const length = `${Math.hypot(columns * columns_mm, rows * rows_mm).toFixed(1)} mm`;
  return kind === "detector" ? `${length} on the detector` : length;
}
