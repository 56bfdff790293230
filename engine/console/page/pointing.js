// A click on a frame that asks something of the run: said in plain words first, sent by a second click there or by Enter.

import { act, say as post } from "./ask.js";
import { byId, setText } from "./dom.js";

const SAME_PX = 6;

export class Pointing {
  constructor(picture, now, onSay) {
    Object.assign(this, { picture, now, onSay, told: null });
    picture.onClick = (fast, slow) => this.#click(fast, slow);
    byId("point-send").addEventListener("click", () => this.#send());
    byId("point-cancel").addEventListener("click", () => this.clear());
    byId("point").addEventListener("keydown", (event) => { if (event.key === "Escape") this.clear(); });
  }

  // Whether a click on the frame that is shown now does anything.
  get #may() {
    const { run, status } = this.now();
    return Boolean(this.now().mine && run?.status === "running" && this.picture.marked?.click && status?.instrument?.run?.name === run.name);
  }

  shown() {
    byId("click-hint").hidden = !this.#may || Boolean(this.told);
    if (this.#may) setText(byId("click-hint"), `${this.picture.marked.click}; by keys: Shift and arrows, then Enter`);
  }

  clear() {
    this.told = null;
    byId("point").hidden = true;
    this.picture.point(null);
    this.shown();
  }

  async #click(fast, slow) {
    if (!this.#may) return;
    const before = this.told;
    if (before && Math.hypot(before.at[0] - fast, before.at[1] - slow) < SAME_PX) { this.#send(); return; }
    this.picture.point([fast, slow]);
    const { kind, row } = this.picture.frame;
    const told = await post("/api/point", { run: this.now().name, kind, row, fast_px: fast, slow_px: slow });
    if (told.error) { this.onSay(told.error, "bad"); this.clear(); return; }
    this.told = { ...told, at: [fast, slow] };
    setText(byId("point-words"), `${told.plain} Click there again, or Send.`);
    byId("point").hidden = false;
    byId("click-hint").hidden = true;
    byId("point-send").focus();
  }

  async #send() {
    const { words, plain } = this.told;
    this.clear();
    const told = await act("tell", { words });
    this.onSay(told.ok ? `Told the run: ${plain}` : told.error, told.ok ? "good" : "bad");
  }
}
