// Colour maps: between few colours, evenly; 256 steps as bytes in the order of a canvas.

const MAPS = {
  gray: ["#000000", "#ffffff"],
  film: ["#ffffff", "#000000"],
  fire: ["#000004", "#3b0f70", "#8c2981", "#de4968", "#fe9f6d", "#fcfdbf"],
  ice: ["#03051a", "#0b2a5b", "#1261a0", "#28a8c7", "#9be7e0", "#ffffff"],
};

export const MAP_NAMES = Object.keys(MAPS);

export function colourMap(name) {
  const stops = (MAPS[name] || MAPS.gray).map((hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)));
  const map = new Uint32Array(256);
  for (let k = 0; k < 256; k += 1) {
    const at = (k / 255) * (stops.length - 1), from = Math.min(Math.floor(at), stops.length - 2), part = at - from;
    const [r, g, b] = [0, 1, 2].map((c) => Math.round(stops[from][c] * (1 - part) + stops[from + 1][c] * part));
    map[k] = 0xff000000 | (b << 16) | (g << 8) | r;
  }
  return map;
}
