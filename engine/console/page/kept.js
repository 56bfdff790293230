// What a run that is over has measured of the instrument, as its protocol says, and the button that stores it.

import { read, say as post, told } from "./ask.js";
import { byId, element, setText } from "./dom.js";

export class Kept {
  constructor(onSay) {
    this.name = "";
    byId("store").addEventListener("click", async () => {
      byId("store").disabled = true;
      const answer = await post("/api/store", told({ run: this.name }));
      onSay(answer.ok ? answer.stored : answer.error, answer.ok ? "good" : "bad");
      byId("store").disabled = !this.may;
      if (answer.ok) this.stored = true;
    });
    byId("keep-ask").addEventListener("click", () => this.#ask(this.name));
  }

  clear() { this.name = ""; byId("kept").hidden = true; }

  steers(may) { this.may = may; byId("store").disabled = !may; }

  // Asked once for each run that has come to its end, or by a press where the run says what it can tell (`keeps`).
  show(run) {
    if (!["done", "stopped"].includes(run.status) || this.name === run.name) return;
    this.name = run.name;
    byId("kept-lines").replaceChildren();
    byId("store").hidden = true;
    byId("kept").hidden = byId("keep-ask").hidden = !run.keeps;
    if (run.keeps) setText(byId("keep-ask"), run.keeps);
    else this.#ask(run.name);
  }

  // To make it of the frames may take seconds.
  async #ask(name) {
    byId("keep-ask").disabled = true;
    const { lines = [], error } = await read(`/api/kept?run=${encodeURIComponent(name)}`);
    byId("keep-ask").disabled = false;
    if (this.name !== name) return;
    const said = error ? [error] : lines;
    byId("kept").hidden = !said.length;
    byId("keep-ask").hidden = Boolean(said.length);
    byId("store").hidden = Boolean(error);
    byId("kept-lines").replaceChildren(...said.map((text) => element("li", { class: error ? "bad" : null, text: error ? `Nothing can be stored of this run: ${text}` : text })));
  }
}
