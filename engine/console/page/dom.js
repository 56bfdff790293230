// Elements are made here and nowhere by parsing text: whatever a run says stands in the page as text.

export const byId = (id) => document.getElementById(id);

export function element(tag, told = {}, ...inside) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(told)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") made.textContent = value;
    else if (name === "on") for (const [event, act] of Object.entries(value)) made.addEventListener(event, act);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...inside.filter((each) => each !== null));
  return made;
}

export function drawn(tag, told = {}, ...inside) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(told)) {
    if (name === "text") made.textContent = value;
    else made.setAttribute(name, value);
  }
  made.append(...inside);
  return made;
}

export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// A canvas as large as it is shown, in the pixels of the screen; its context draws in those of the page.
export function sized(canvas) {
  const { width, height } = canvas.getBoundingClientRect();
  const scale = window.devicePixelRatio || 1;
  const wide = Math.round(width * scale), tall = Math.round(height * scale);
  if (canvas.width !== wide || canvas.height !== tall) { canvas.width = wide; canvas.height = tall; }
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

export function clock(seconds) {
  if (seconds === null || seconds === undefined) return "";
  const whole = Math.round(seconds), pad = (n) => String(n).padStart(2, "0");
  const hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
  return hours ? `${hours}:${pad(minutes)}:${pad(whole % 60)}` : `${minutes}:${pad(whole % 60)}`;
}
