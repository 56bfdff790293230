// What the page asks of the server. What does something has a number of its own, and is done once.

// The number of this tab, which it keeps when it is loaded anew; a tab that was made of another one takes its own.
export let page = sessionStorage.getItem("credline-page") || number().slice(0, 12);
sessionStorage.setItem("credline-page", page);
const tabs = new BroadcastChannel("credline-pages"), born = number();
tabs.onmessage = ({ data }) => {
  if (data.page !== page || data.born === born) return;
  if (data.taken) {
    page = number().slice(0, 12);
    sessionStorage.setItem("credline-page", page);
    window.dispatchEvent(new Event("renumbered"));
  } else tabs.postMessage({ page, born, taken: true });
};
tabs.postMessage({ page, born });

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

// Of the operator: each tab may have its own; a new one begins with the last that was given.
export const name = () => sessionStorage.getItem("credline-name") ?? localStorage.getItem("credline-name") ?? "";

export function callMe(given) {
  sessionStorage.setItem("credline-name", given);
  localStorage.setItem("credline-name", given);
}
export const told = (more = {}) => ({ id: number(), page, name: name(), ...more });
export const act = (ask, more = {}) => say("/api/do", told({ ask, ...more }));
export const check = (protocol, settings) => say("/api/plan", { protocol, settings });
