// Makes elements. All text becomes text nodes: no function here parses HTML.

/** Make an element. attributes: `class`, `onclick` and other listeners, properties by `.name`, else attributes. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) set(element, name, value);
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

function set(element, name, value) {
  if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
  else if (name.startsWith(".")) element[name.slice(1)] = value;
  else if (value === true) element.setAttribute(name, "");
  else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
}

/** Change some attributes of an element; null removes one. */
export function change(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined) element.removeAttribute(name);
    else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
  }
}

/** Make these nodes an element's children. Nodes that stay are not moved. */
export function arrange(element, nodes) {
  const kept = new Set(nodes);
  for (const child of [...element.childNodes]) if (!kept.has(child)) child.remove();
  let next = element.firstChild;
  for (const node of nodes) {
    if (node === next) next = next.nextSibling;
    else element.insertBefore(node, next);
  }
}

/** Replace an element's content. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Set an element's text only if it differs, so that a screen reader reads only new texts. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const drawn = new WeakMap(); // element -> the text of what it shows

/** Fill an element with draw(given), unless it shows the same already: text that somebody has selected stays selected. */
export function refill(element, given, draw) {
  const text = JSON.stringify(given);
  if (drawn.get(element) === text) return;
  drawn.set(element, text);
  fill(element, draw(given));
}
