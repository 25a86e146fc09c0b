// What keys do to a viewer, and what buttons that say so do.

const ZOOM_STEP = 1.25;
const PAGE = 10;

/** What keys do: `key` is for people, `on` what `KeyboardEvent.key` says. */
export const ACTIONS = [
  action("W", ["w", "W"], "Next preset", (viewer) => viewer.cyclePreset()),
  action("I", ["i", "I"], "Invert", (viewer) => viewer.invert()),
  action("R", ["r", "R"], "Ruler", (viewer) => viewer.toggleRuler()),
  action("0", ["0"], "Reset", (viewer) => viewer.reset()),
  action("\u2191", ["ArrowUp"], "Previous frame", (viewer) => viewer.step(-1)),
  action("\u2193", ["ArrowDown"], "Next frame", (viewer) => viewer.step(1)),
  action("PgUp", ["PageUp"], `${PAGE} frames back`, (viewer) => viewer.step(-PAGE)),
  action("PgDn", ["PageDown"], `${PAGE} frames on`, (viewer) => viewer.step(PAGE)),
  action("Home", ["Home"], "First frame", (viewer) => viewer.show(1)),
  action("End", ["End"], "Last frame", (viewer) => viewer.show(Infinity)),
  action("+", ["+", "="], "Zoom in", (viewer) => viewer.zoom(ZOOM_STEP)),
  action("\u2212", ["-"], "Zoom out", (viewer) => viewer.zoom(1 / ZOOM_STEP)),
  action("Space", [" "], "Play or pause", (viewer) => viewer.togglePlay()),
];

function action(key, on, label, run) {
  return { key, on, label, run };
}

/** Run the action of a key, unless the key belongs to what has the focus; tells whether it ran. */
export function handleKey(viewer, event) {
  if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey) return false;
  if (event.target.closest("input, select, textarea, [contenteditable]")) return false;
  if (event.key === " " && event.target.closest("button, a, summary")) return false;
  const found = ACTIONS.find(({ on }) => on.includes(event.key));
  if (!found) return false;
  event.preventDefault();
  found.run(viewer);
  return true;
}
