// What the page asks of the server. What does something has a number of its own, and is done once.

const page = number().slice(0, 6);

function number() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function answered(response) {
  let told;
  try { told = await response.json(); } catch { told = { ok: false, error: `the server answered ${response.status}` }; }
  return told;
}

export async function read(path) {
  try { return await answered(await fetch(path)); } catch { return { ok: false, error: "the console does not answer" }; }
}

export async function say(path, told) {
  try {
    return await answered(await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(told) }));
  } catch {
    return { ok: false, error: "the console does not answer; what was asked for may not have happened" };
  }
}

export const act = (ask, more = {}) => say("/api/do", { ask, id: number(), page, ...more });
export const check = (protocol, settings) => say("/api/plan", { protocol, settings });
