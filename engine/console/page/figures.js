// The numbers of a run, its progress, its warnings, and its result when it is over.

import { byId, clock, element, setText } from "./dom.js";

const size = (bytes) => (bytes > 2e9 ? `${(bytes / 1e9).toFixed(0)} GB` : `${(bytes / 1e6).toFixed(0)} MB`);
const ms = (value) => (Math.abs(value) < 0.1 ? `${(value * 1000).toFixed(0)} us` : `${value.toFixed(value < 10 ? 2 : 0)} ms`);

function rows(run) {
  const told = [];
  const add = (name, value, more = "", bad = false) => told.push([name, value, more, bad]);
  const over = run.status !== "running", isTold = over && run.told.length > 0; // what the result says, is not said twice, by other counts
  if (!isTold && (run.done || run.total)) add(run.unit, String(run.done), run.total ? ` of ${run.total}` : "");
  if (run.note && !over) add("now at", run.note);
  if (!over && run.left_s !== null) add("time left", clock(run.left_s));
  add(over ? "took" : "since start", clock(run.t_s));
  if (run.late_ms) add("late, p99", ms(run.late_ms.p99), "", run.late_ms.p99 > 10);
  if (run.slack_ms) add("slack, least", ms(run.slack_ms.most), "", run.slack_ms.most < 0);
  if (!isTold && (run.late_ms || run.lost)) add("slots lost", String(run.lost), "", run.lost > 0);
  for (const [kind, number] of Object.entries(run.frames)) add(run.shown.find((each) => each.kind === kind)?.title || kind, String(number), number === 1 ? " frame" : " frames");
  for (const [kind, number] of run.hourly || []) add(`${kind}s an hour`, number.toFixed(0));
  if (run.free_bytes && !over) add("disk free", size(run.free_bytes), "", run.free_bytes < 2e9);
  return told;
}

export function showFigures(run) {
  const list = byId("figures"), told = run ? rows(run) : [];
  while (list.children.length > told.length) list.lastChild.remove();
  told.forEach(([name, value, more, bad], k) => {
    let box = list.children[k];
    if (!box) {
      box = element("div", {}, element("dt"), element("dd", {}, element("span"), element("small")));
      list.append(box);
    }
    box.className = bad ? "bad" : "";
    setText(box.firstChild, name);
    setText(box.lastChild.firstChild, value);
    setText(box.lastChild.lastChild, more);
    box.title = `${name}: ${value}${more}`;
  });
}

export function showWarnings(run, gone) {
  const told = [];
  if (gone && run?.at_work) told.push(["alarm", gone]);
  if (run) {
    if (run.cut_off) told.push(["alarm", "The program that performed this run was cut off. Its data are kept: credline recover finishes it."]);
    for (const text of run.watchdog) told.push(["alarm", text]);
    for (const text of run.alarms) told.push(["alarm", text]);
    for (const text of run.warnings) told.push(["", text]);
    for (const text of run.remarks) told.push(["", text]);
  }
  const list = byId("warnings"), key = JSON.stringify(told);
  if (list.dataset.told === key) return;
  list.dataset.told = key;
  list.hidden = !told.length;
  list.replaceChildren(...told.map(([of, text]) => element("li", { class: of, text })));
}

export function showResult(run) {
  const table = byId("told"), told = run && run.status !== "running" ? run.told : [];
  const key = JSON.stringify(told) + (run ? run.reason : "");
  if (table.dataset.told === key) return;
  table.dataset.told = key;
  const first = run && run.reason ? [["ended because", run.reason]] : [];
  table.replaceChildren(...[...first, ...told].map(([name, text]) => element("tr", {}, element("td", { text: name }), element("td", { text }))));
}
