// What a run that is over has measured of the instrument, as its protocol says, and the button that stores it.

import { read, say as post, told } from "./ask.js";
import { byId, element } from "./dom.js";

export class Kept {
  constructor(onSay) {
    this.name = "";
    byId("store").addEventListener("click", async () => {
      byId("store").disabled = true;
      const answer = await post("/api/store", told({ run: this.name }));
      onSay(answer.ok ? answer.stored : answer.error, answer.ok ? "good" : "bad");
      byId("store").disabled = !this.may;
    });
  }

  clear() { this.name = ""; byId("kept").hidden = true; }

  steers(may) { this.may = may; byId("store").disabled = !may; }

  // Asked once for each run that has come to its end; to make it of the frames may take seconds.
  async show(run) {
    if (run.status !== "done" || this.name === run.name) return;
    this.name = run.name;
    const { lines = [], error } = await read(`/api/kept?run=${encodeURIComponent(run.name)}`);
    if (this.name !== run.name) return;
    const said = error ? [error] : lines;
    byId("kept").hidden = !said.length;
    byId("store").hidden = Boolean(error);
    byId("kept-lines").replaceChildren(...said.map((text) => element("li", { text })));
  }
}
