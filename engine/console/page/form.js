// The form of a run, from the plan's own keys; what it would be is asked as one types, in the words of the command line.

import { act, check, read } from "./ask.js";
import { byId, drawn, element } from "./dom.js";

const FIRST = 8, WAIT_MS = 250, HELP_MS = 300;
const COLOURS = 5, KEPT = "credline-forms";

// A key of a plan as a person reads it, without the unit that stands beside its field.
function plain(key, unit) {
  const end = `_${unit.replace(/[^A-Za-z0-9]+/g, "_")}`;
  const words = unit && key.endsWith(end) ? key.slice(0, -end.length) : key;
  return words.replaceAll("_", " ").replace(".", ": ");
}

export class Form {
  constructor(onStarted, onSay, onQueue) {
    this.onStarted = onStarted;
    this.onQueue = onQueue;
    this.onSay = onSay;
    this.fields = new Map();
    this.protocol = "";
    this.typed = JSON.parse(sessionStorage.getItem(KEPT) || "{}"); // by experiments, what differs from the defaults
    this.asked = 0;
    this.plan = null;
    this.accept = false;
    this.mayStart = false;
    byId("protocol").addEventListener("change", () => this.open(byId("protocol").value));
    byId("reset").addEventListener("click", () => { this.#keep(this.protocol, {}); this.open(this.protocol); });
    byId("start").addEventListener("click", () => this.#start(false));
    byId("accept-timing").addEventListener("click", () => this.#start(true));
    byId("enqueue").addEventListener("click", () => this.onQueue({ ...this.wanted, accept_gaps: this.accept }));
    byId("form").addEventListener("submit", (event) => event.preventDefault());
  }

  async begin() {
    const { protocols = [] } = await read("/api/protocols");
    const select = byId("protocol");
    select.replaceChildren(...protocols.map(({ name, summary, problem }) =>
      element("option", { value: name, text: name, title: problem || summary, disabled: Boolean(problem) })));
    const first = protocols.find(({ name }) => name === "cred") || protocols.find(({ problem }) => !problem);
    this.view = protocols.find(({ gives_way: gives, problem }) => gives && !problem)?.name || "";
    if (first) { select.value = first.name; await this.open(first.name); }
  }

  async open(protocol) {
    const told = await read(`/api/form?protocol=${encodeURIComponent(protocol)}`);
    if (told.error) { this.onSay(told.error, "bad"); return; }
    if (this.protocol && this.protocol !== protocol) this.settings(); // as it stands now, to be kept
    byId("summary").textContent = told.summary;
    this.protocol = protocol;
    this.fields.clear();
    const made = told.keys.map((key) => this.#field(key));
    byId("keys").replaceChildren(...made.slice(0, FIRST).flat());
    byId("keys-more").replaceChildren(...made.slice(FIRST).flat());
    byId("more").hidden = made.length <= FIRST;
    for (const [key, value] of Object.entries(this.typed[protocol] || {})) {
      const input = this.fields.get(key)?.input;
      if (input?.type === "checkbox") input.checked = value;
      else if (input) input.value = value;
    }
    this.accept = false;
    byId("accept-timing").hidden = true;
    this.ask();
  }

  #field(key) {
    const id = `key-${key.key}`, help = element("p", { class: "help", id: `${id}-help`, hidden: true, text: [`${key.key}:`, key.meaning, key.allowed && `(${key.allowed})`].filter(Boolean).join(" ") });
    const common = { id, name: key.key, "aria-describedby": `${id}-help` };
    const written = key.default === null || key.default === undefined ? "" : key.input === "toml" ? JSON.stringify(key.default) : String(key.default);
    let input;
    if (key.input === "switch") input = element("input", { ...common, type: "checkbox", checked: key.default === true });
    else if (key.input === "choice") {
      input = element("select", common, ...(key.optional ? [element("option", { value: "", text: "none" })] : []),
        ...key.choices.map((choice) => element("option", { value: choice, text: choice, selected: choice === key.default })));
    } else {
      const number = key.input === "number" || key.input === "integer";
      input = element("input", { ...common, type: "text", inputmode: number ? "decimal" : null, value: written,
        placeholder: key.needed ? "needed" : key.optional ? "none" : "", spellcheck: "false" });
    }
    const label = element("label", { class: "field" }, element("span", { text: plain(key.key, key.unit), title: key.key }), input, element("span", { class: "unit", text: key.unit }));
    input.addEventListener("focus", () => { help.hidden = !help.textContent; });
    input.addEventListener("blur", () => setTimeout(() => { help.hidden = true; }, HELP_MS)); // a click that ends it must still hit what it was aimed at
    input.addEventListener("input", () => this.ask());
    this.fields.set(key.key, { key, input, label, written });
    return [label, help];
  }

  // What differs from the defaults, as words of --set.
  settings() {
    const words = [], typed = {};
    for (const { key, input, label, written } of this.fields.values()) {
      const value = key.input === "switch" ? input.checked : input.value.trim();
      const changed = key.input === "switch" ? value !== (key.default === true) : value !== written;
      label.classList.toggle("changed", changed);
      if (changed) typed[key.key] = value;
      if (!changed || (value === "" && key.optional)) continue;
      const bare = /^[A-Za-z][\w-]*$/.test(value) && !["true", "false", "inf", "nan"].includes(value);
      const text = (key.input === "text" || key.input === "choice") && !bare ? JSON.stringify(value) : String(value);
      words.push(`${key.key}=${text}`);
    }
    this.#keep(this.protocol, typed, words);
    return words;
  }

  // What was typed for an experiment stays while another one is looked at, and when the page is loaded anew.
  #keep(protocol, typed, words = []) {
    this.typed[protocol] = typed;
    this.typed[`${protocol} words`] = words;
    sessionStorage.setItem(KEPT, JSON.stringify(this.typed));
  }

  // The settings that an experiment's form stands at, whether or not it is the one that is shown.
  standing(protocol) {
    if (protocol === this.protocol) return this.settings();
    return this.typed[`${protocol} words`] || [];
  }

  ask() {
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.#ask(), WAIT_MS);
  }

  async #ask() {
    const mine = ++this.asked, told = await check(byId("protocol").value, this.settings());
    if (mine !== this.asked) return;
    this.plan = told;
    this.#show(told);
    this.#enable();
  }

  get wanted() { return { protocol: byId("protocol").value, settings: this.settings() }; }

  // start: whether a run may begin now. queue: whether one may be put into the queue.
  may(start, why, queue) {
    this.mayStart = start;
    this.mayQueue = queue;
    byId("start").title = why;
    this.why = why;
    this.#enable();
  }

  #enable() {
    const objected = this.plan?.objections?.length && !this.accept;
    const fits = Boolean(this.plan?.fits && !objected);
    byId("start").disabled = !(this.mayStart && fits);
    byId("enqueue").disabled = !(this.mayQueue && fits);
    byId("start-why").hidden = !(fits && this.why);
    byId("start-why").textContent = this.why || "";
  }

  #show(told) {
    for (const { key, label } of this.fields.values()) {
      label.classList.toggle("wrong", Boolean(told.error) && told.error.startsWith(`${key.key} `));
    }
    const into = byId("plan");
    if (!told.fits) {
      into.replaceChildren(element("div", { class: "answer" }, element("p", { class: "verdict not", text: told.error || "" })));
      return;
    }
    const boxes = told.objections.map((text) => element("p", { class: "note", text }));
    if (boxes.length) {
      boxes.push(element("label", {}, element("input", { type: "checkbox", checked: this.accept,
        on: { change: (event) => { this.accept = event.target.checked; this.#enable(); } } }), " run it all the same"));
    }
    into.replaceChildren(
      element("div", { class: "answer" }, element("p", { class: "verdict fits", text: told.total ? `Fits. ${told.total} ${told.unit}.` : "Fits." }), ...boxes),
      ...told.remarks.map((text) => element("p", { class: "note", text })),
      ...told.budgets.map((budget) => this.#budget(budget)),
      element("table", {}, ...told.words.map(([name, text]) => element("tr", {}, element("td", { text: name }), element("td", { text })))),
      element("p", {}, element("code", { text: told.command })));
  }

  // The steps of a timed sequence as a bar of the time that there is, at their worst; what is left is left dark.
  #budget({ name, available_ms: available, slack_ms: slack, steps }) {
    let x = 0;
    const bars = steps.map(([step, , worst, source], k) => {
      const wide = (worst / available) * 100;
      const bar = drawn("rect", { x: `${x}%`, y: "0", width: `${Math.max(wide - 0.3, 0.3)}%`, height: "14", class: `step-${k % COLOURS}` },
        drawn("title", { text: `${step}: ${worst} ms at worst, from ${source}` }));
      x += wide;
      return bar;
    });
    return element("div", { class: "budget" },
      element("span", { class: slack < 0 ? "slack none" : "slack", text: `${slack} of ${available} ms left` }), element("b", { text: name }),
      drawn("svg", { role: "img", "aria-label": `${name}: ${steps.map(([step, , worst]) => `${step} ${worst} ms`).join(", ")}` },
        drawn("rect", { x: "0", y: "0", width: "100%", height: "14", class: "left" }), ...bars));
  }

  // acceptTiming: although the self-test has found this machine too slow for the plan.
  #start(acceptTiming) {
    return this.#run({ ...this.wanted, accept_gaps: this.accept, accept_timing: acceptTiming });
  }

  // The run that gives way to any other: the live view, as it is by default.
  look() { return this.#run({ protocol: this.view, settings: [] }); }

  async #run(wanted) {
    byId("start").disabled = true;
    byId("accept-timing").hidden = true;
    this.onSay("Starting: the timing of this machine is tested first...", "");
    const told = await act("run", wanted);
    if (told.ok) this.onStarted(told.run);
    else {
      this.onSay(told.error, "bad");
      byId("accept-timing").hidden = !told.error.includes("--accept-timing");
    }
    this.#enable();
  }
}
