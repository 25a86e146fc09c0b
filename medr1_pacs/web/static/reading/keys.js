// Which key does what on the page, and when it does not: while somebody types.

/** Whether keys write into an element. */
export function isTyping(element) {
  const field = element.closest("textarea, select, input, [contenteditable]");
  return field !== null && !["radio", "checkbox", "range"].includes(field.type);
}

/** Without a key that makes it a command; what AltGr writes is told with Ctrl and Alt on Windows. */
export function isPlain(event, isWritten = true) {
  if (isWritten && event.getModifierState("AltGraph")) return !event.metaKey;
  return !(event.ctrlKey || event.altKey || event.metaKey);
}

/** The digit of a key, whatever it writes with Shift or in other countries; null: it is none. */
export function digitOf(event) {
  if (!isPlain(event, false) || event.getModifierState("AltGraph")) return null;
  const found = /^Digit(\d)$/.exec(event.code);
  if (found) return Number(found[1]);
  return /^Numpad\d$/.test(event.code) && /^\d$/.test(event.key) ? Number(event.key) : null;
}

/** What a key does: `key` is printed, `is(event)` tells whether it is meant. */
export function shortcut(group, key, label, run, more = {}) {
  const letter = (event) => isPlain(event) && event.key.toLowerCase() === key.toLowerCase();
  return { group, key, label, run, is: letter, isForText: false, ...more };
}

/**
 * Let the keys of a page work. `shortcuts` are asked in their order; `run(event)` may return false:
 * it was nothing for it. `isForText`: it works while somebody types, too.
 */
export function attachKeys(shortcuts) {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.isComposing) return;
    if (document.querySelector("dialog[open]")) return;
    const isText = isTyping(event.target);
    for (const each of shortcuts) {
      if ((isText && !each.isForText) || !each.is(event)) continue;
      if (each.run(event) === false) continue;
      event.preventDefault();
      return;
    }
  });
}

/** Write the keys into the help, group by group. */
export function describeKeys(shortcuts, place) {
  const groups = new Map();
  for (const each of shortcuts) {
    if (!groups.has(each.group)) groups.set(each.group, []);
    groups.get(each.group).push(each);
  }
  for (const [name, members] of groups) {
    const section = document.createElement("section");
    const title = document.createElement("h3");
    const list = document.createElement("dl");
    title.textContent = name;
    for (const { key, label } of members) {
      const [term, says] = [document.createElement("dt"), document.createElement("dd")];
      term.append(...printKey(key));
      says.textContent = label;
      list.append(term, says);
    }
    section.append(title, list);
    place.append(section);
  }
}

/** A key as it is printed: `Shift+1` are two of them. */
export function printKey(key) {
  const parts = key.length > 1 ? key.split("+") : [key];
  return parts.map((part) => {
    const element = document.createElement("kbd");
    element.textContent = part;
    return element;
  });
}
