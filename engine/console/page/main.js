// The page: one stream from the console, and where its messages go. Loses nothing by being closed or loaded anew.

import { act, page, say as post, told as toldBy } from "./ask.js";
import { MAP_NAMES } from "./colours.js";
import { Comparing } from "./comparing.js";
import { Control } from "./control.js";
import { Course } from "./course.js";
import { byId, element, setText } from "./dom.js";
import { showFigures, showResult, showWarnings } from "./figures.js";
import { Form } from "./form.js";
import { Handles } from "./handles.js";
import { Kept } from "./kept.js";
import { Machine } from "./machine.js";
import { Panels } from "./panels.js";
import { Picture, unpacked } from "./picture.js";
import { Pointing } from "./pointing.js";
import { Queue } from "./queue.js";
import { Runs } from "./runs.js";
import { Seen } from "./seen.js";
import { Strip } from "./strip.js";

const RED_KEY = "F8", AGAIN_MS = 1000, DRAW_MS = 50, RUNS_MS = 5000;
const WORDS = { running: "live", done: "good", stopped: "good" };

const large = new Picture(byId("frame")), small = new Picture(byId("inset"), { plain: true });
const strip = new Strip(byId("strip"), byId("bar-words")), course = new Course(byId("course")), machine = new Machine(byId("machine"));
const now = { socket: null, status: null, run: null, name: "", kinds: [], chosen: "", row: null, mine: false, following: true, frames: 0 };
window.credline = now; // for whoever looks at the page from its own tools

// What is said to the operator, for a while.
function say(text, of = "") {
  const line = byId("say");
  line.textContent = text;
  line.className = of;
  clearTimeout(say.over);
  if (text && of !== "bad") say.over = setTimeout(() => { line.textContent = ""; }, 8000);
}

function send(told) {
  if (now.socket?.readyState === WebSocket.OPEN) now.socket.send(JSON.stringify(told));
}

function connect() {
  const socket = new WebSocket(`ws://${location.host}/feed?page=${page}`);
  socket.binaryType = "arraybuffer";
  now.socket = socket;
  socket.addEventListener("open", () => { if (now.name) ask(now.name); });
  socket.addEventListener("message", ({ data }) => (typeof data === "string" ? hear(JSON.parse(data)) : picture(data)));
  socket.addEventListener("close", () => {
    chip("link", "console lost, looking for it", "bad");
    now.status = null;
    beam(null);
    form.may(false, "The console does not answer.", false);
    setTimeout(connect, AGAIN_MS);
  });
}

function hear(told) {
  if (told.type === "status") status(told);
  else if (told.run !== now.name) return;
  else if (told.type === "run") run(told);
  else if (told.type === "drawn") { strip.add(told.bars, told.late); course.add(told.course); }
  else if (told.type === "panels") { panels.add(told.rows); large.mark(told.marks); small.mark(told.marks); pointing.shown(); }
  else if (told.type === "no run") { say(told.error, "bad"); open("", true); }
}

function picture(data) {
  const frame = unpacked(data), over = now.run?.shown.find(({ kind }) => kind === frame.kind);
  now.frames += 1;
  const into = frame.kind === now.kinds[1] && frame.kind !== now.kinds[0] ? small : large;
  into.over = over || null;
  into.show(frame);
  now.drawn = { kind: frame.kind, row: frame.row, binned: frame.binned, shape: frame.shape, at: Date.now(), rings: (frame.seen?.centre ? frame.seen.rings : over?.rings || []).length };
  if (into === large) seen.set(frame);
  if (into === small) {
    byId("second").hidden = false;
    const slot = frame.columns.slot;
    byId("second").lastElementChild.textContent = `last ${over?.title || frame.kind}${slot === undefined ? "" : `, slot ${slot}`}`;
  } else rowSlider(frame);
  send({ ready: true });
}

// Frames as fine as they can be seen: asked for once a person has zoomed so far.
function finer(px) {
  if (px === now.px) return;
  clearTimeout(finer.soon);
  finer.soon = setTimeout(() => { now.px = px; send({ px, ready: true }); }, 250);
}

function rowSlider(frame) {
  byId("browse").hidden = !now.run || (now.run.status === "running" && now.row === null) || frame.of < 2;
  byId("newest").hidden = now.row === null || now.run?.status !== "running";
  pointing.shown();
  byId("row").max = frame.of - 1;
  if (document.activeElement !== byId("row")) byId("row").value = frame.row;
}

function chip(id, text, of = "") {
  setText(byId(id), text);
  byId(id).className = `chip ${of}`;
}

function status(told) {
  now.status = told;
  const instrument = told.instrument, live = instrument?.run;
  chip("devices", instrument ? instrument.devices.split(/[\\/]/).pop() : "");
  byId("devices").title = `The devices of the instrument process: ${instrument?.devices || ""}`;
  const stands = !live ? "ready" : live.ending ? "run over, files being written" : live.gives_way ? "live view" : "run under way";
  chip("link", instrument ? (instrument.preparing ? "preparing a run" : stands) : told.opening ? "being opened" : "no instrument", instrument ? (live ? "live" : "good") : told.opening ? "" : "bad");
  byId("link").title = told.gone || "The instrument process answers";
  beam(instrument);
  control.show(told);
  now.mine = control.mine;
  queue.show(instrument?.queue, now.mine);
  kept.steers(now.mine);
  byId("red").disabled = !told.steering || !instrument;
  const free = instrument && (!live || live.gives_way) && !instrument.preparing;
  byId("view").hidden = !(now.mine && free && !live && form.view);
  form.may(now.mine && free, !now.mine ? "This page does not steer: it may not start a run." : free ? "" : live?.ending ? "The run before is writing its files; Start works when they are there." : "A run has the instrument: put this one into the queue, or wait.", now.mine);
  byId("reopen").hidden = !(told.reopens && (!instrument ? told.steering && !told.opening : now.mine && free && kept.stored));
  setText(byId("reopen"), instrument ? "Open anew, with what was stored" : "Open the instrument");
  const child = live?.within.at(-1);
  byId("within").hidden = !child || now.name === `${live.name}/${child}`;
  if (child) setText(byId("within"), `Show ${child}`);
  if (now.following) {
    const wanted = live?.name || runs.running()?.name || instrument?.last?.run || now.name;
    if (wanted && wanted !== now.name) open(wanted, true);
  }
  if (live && now.last !== live.name) runs.load();
  now.last = live?.name || "";
  buttons();
  showWarnings(now.run, told.gone);
}

// How the blanker stands, as it was read; or as it was told, where nobody has read it since.
function beam(instrument) {
  const blanked = instrument?.blanked;
  if (instrument?.told_off && blanked !== true) chip("beam", "beam told off");
  else if (blanked === false) chip("beam", "BEAM ON", "warm");
  else if (blanked === true) chip("beam", "beam off", "good");
  else chip("beam", "BEAM NOT KNOWN", "bad");
}

function buttons() {
  const live = now.status?.instrument?.run, may = now.status?.steering && live && live.name === now.name && now.run?.status === "running";
  const mine = may && now.mine;
  byId("stop").hidden = !may;
  byId("abort").hidden = byId("mark").hidden = !mine;
  byId("stop").disabled = Boolean(live?.ending);
  byId("pause").hidden = !(mine && live.pauses);
  setText(byId("pause"), live?.paused ? "Go on" : "Pause");
  byId("follow").hidden = !(live && live.name !== now.name);
}

// Another run is shown. follow: whether the next one that begins is shown by itself.
function open(name, follow) {
  now.following = follow;
  now.name = name;
  now.run = null;
  now.kinds = [];
  now.chosen = "";
  strip.clear();
  course.clear();
  large.clear();
  large.fit();
  small.clear();
  panels.clear();
  pointing.clear();
  seen.clear();
  kept.clear();
  now.row = null;
  document.querySelector("main").classList.remove("mapped", "frameless");
  byId("begin").hidden = Boolean(name);
  byId("times").hidden = !name;
  byId("parent").hidden = !above(name);
  setText(byId("parent"), `Up to ${above(name)}`);
  byId("browse").hidden = byId("newest").hidden = true;
  byId("second").hidden = byId("curve").hidden = true;
  history.replaceState(null, "", follow || !name ? location.pathname : `#run=${encodeURIComponent(name)}`);
  runs.show(name);
  if (name) ask(name);
}

function ask(name) {
  strip.clear();
  course.clear();
  panels.clear();
  now.kinds = [];
  send({ run: name, ready: true, ...(now.px ? { px: now.px } : {}) });
}

function run(told) {
  const before = now.run?.status;
  now.run = told;
  setText(byId("name"), told.name);
  document.title = `${told.name}: credline`;
  const words = told.cut_off ? "cut off" : told.status;
  chip("status", words, WORDS[words] || "bad");
  const over = told.status !== "running";
  byId("operator").hidden = over || !told.operator;
  setText(byId("operator"), told.operator);
  byId("progress").hidden = !told.total;
  byId("progress").firstElementChild.style.width = told.total ? `${Math.min(100, (100 * told.done) / told.total)}%` : "0";
  byId("report").hidden = !told.report;
  byId("report").href = `/report/${told.name.split("/").map(encodeURIComponent).join("/")}/index.html`;
  machine.show(told.machine, told.state, told.spent_s, told.state_since_s, told.t_s, words);
  strip.set(!over && !told.cut_off, told.state, told.state_since_s, told.t_s);
  course.set(told.course);
  byId("curve").hidden = !told.course;
  if (told.course) setText(byId("curve").lastElementChild, `${told.course.name}, ${told.course.unit}, over time; dashed: the plan`);
  panels.set(told.panels, now.mine);
  document.querySelector("main").classList.toggle("mapped", told.panels.some(({ type }) => type === "map"));
  document.querySelector("main").classList.toggle("frameless", Boolean(told.panels.length && !told.shown.length && !Object.keys(told.frames).length));
  handles.set(told.buttons, now.mine && now.status?.instrument?.run?.name === told.name);
  byId("folder").hidden = !told.folder;
  setText(byId("folder"), `in ${told.folder}`);
  kept.show(told);
  showFigures(told);
  showWarnings(told, now.status?.gone);
  showResult(told);
  kinds(told);
  buttons();
  if (over && large.frame) rowSlider(large.frame);
  if (before === "running" && over) { say(`${told.name}: ${told.status}. ${told.reason}`, WORDS[told.status] || "bad"); runs.load(); }
}

// Which frames there are; the first that the protocol names is large, the second small.
function kinds(told) {
  const there = [...told.shown.map(({ kind }) => kind), ...Object.keys(told.frames)].filter((kind, k, all) => told.frames[kind] && all.indexOf(kind) === k);
  const first = there.includes(now.chosen) ? now.chosen : there[0];
  const second = there.find((kind) => kind !== first);
  const wanted = [first, second].filter(Boolean);
  if (JSON.stringify(wanted) !== JSON.stringify(now.kinds)) {
    now.kinds = wanted;
    byId("second").hidden = !second;
    send({ kinds: wanted, ready: true });
  }
  const title = (kind) => told.shown.find((each) => each.kind === kind)?.title || kind;
  const key = JSON.stringify([there, first]);
  if (byId("kinds").dataset.told === key) return;
  byId("kinds").dataset.told = key;
  byId("kinds").replaceChildren(...there.map((kind) => element("button", { type: "button", role: "tab", "aria-selected": String(kind === first), text: title(kind),
    on: { click: () => choose(kind) } })));
}

// A kind of frames large, and which of them; the newest without.
function choose(kind, row = null) {
  if (kind !== now.kinds[0]) large.fit();
  now.chosen = kind;
  now.row = row;
  now.kinds = [];
  pointing.clear();
  kinds(now.run);
  if (row !== null) send({ row, ready: true });
}

async function red() {
  const button = byId("red");
  button.classList.add("asked");
  say("Blanking and stopping...");
  const told = await act("blank");
  button.classList.remove("asked");
  if (told.ok) say(`The beam is off: the blanker reads as closed, ${told.after_ms} ms after the button.`, "good");
  else say(told.error, "bad");
}

// What a row of a panel offers is put into the queue, one after the other.
async function offer(panel, key) {
  const { offers = [], error } = await post("/api/offers", toldBy({ run: now.name, panel, key }));
  if (error) { say(error, "bad"); return; }
  const own = [];
  for (const each of offers) {
    const sets = new Set(each.settings.map((word) => word.split("=")[0])), mine = form.standing(each.protocol).filter((word) => !sets.has(word.split("=")[0]));
    own.push(mine.length ? `${each.title}, as its form stands: ${mine.join(", ")}` : each.title);
    if (!(await queue.add({ ...each, settings: [...mine, ...each.settings], title: own.at(-1) }))) return;
  }
  say(`In the queue: ${own.join("; ")}.`, "good");
  tab("queue");
}

async function steer(what, more) {
  const told = await act(what, more);
  if (!told.ok) say(told.error, "bad");
}

const above = (name) => name.split("/").slice(0, -1).join("/");

// A folder as seen from the run that is shown, as a name of a run.
function inside(folder) {
  const parts = now.name.split("/");
  for (const part of folder.split("/")) { if (part === "..") parts.pop(); else parts.push(part); }
  return parts.join("/");
}

// A run that a person asked for, from its top.
function visit(name) {
  open(name, false);
  window.scrollTo(0, 0);
}

// The instrument is closed and opened again, or opened where its process is gone.
async function reopen() {
  byId("reopen").hidden = true;
  say("The instrument is being opened; that takes some 15 s...");
  const told = await post("/api/reopen", toldBy());
  if (!told.ok) { say(told.error, "bad"); return; }
  kept.stored = false;
  await act("take");
  form.ask();
  say("The instrument is open.", "good");
}

const panels = new Panels(byId("panels"), { onFrame: choose, onOffer: offer, onRun: (folder) => visit(inside(folder)) });
const control = new Control(say), queue = new Queue(say), kept = new Kept(say);
const pointing = new Pointing(large, () => now, say);
const handles = new Handles(byId("handles"), say), seen = new Seen(byId("seen-figures"), byId("followed"));
const runs = new Runs(visit);
const comparing = new Comparing(runs);
const form = new Form((name) => { say(`${name} has begun.`, "good"); open(name, true); }, say,
  async (run) => { if (await queue.add(run)) say("Put into the queue.", "good"); });

function tab(name) {
  for (const each of ["new", "queue", "runs"]) {
    byId(each).hidden = each !== name;
    byId(`tab-${each}`).setAttribute("aria-selected", String(each === name));
  }
  if (name === "runs") runs.load();
}

function theme(name) {
  document.documentElement.dataset.theme = name;
  setText(byId("theme"), name === "dark" ? "Light" : "Dark");
  localStorage.setItem("credline-theme", name);
  strip.draw();
  course.draw();
  panels.redraw();
  seen.draw();
}

byId("red").addEventListener("click", red);
byId("view").addEventListener("click", () => form.look());
byId("reopen").addEventListener("click", reopen);
byId("said-close").addEventListener("click", () => say(""));
byId("within").addEventListener("click", () => { const live = now.status?.instrument?.run; if (live) visit(`${live.name}/${live.within.at(-1)}`); });
byId("parent").addEventListener("click", () => visit(above(now.name)));
byId("stop").addEventListener("click", () => steer("stop"));
byId("pause").addEventListener("click", () => steer(now.status?.instrument?.run?.paused ? "resume" : "pause"));
byId("abort").addEventListener("click", ({ target }) => {
  if (target.dataset.sure) { delete target.dataset.sure; setText(target, "Abort"); steer("abort"); return; }
  target.dataset.sure = "yes";
  setText(target, "Really abort?");
  setTimeout(() => { delete target.dataset.sure; setText(target, "Abort"); }, 3000);
});
byId("follow").addEventListener("click", () => open(now.status?.instrument?.run?.name || "", true));
byId("theme").addEventListener("click", () => theme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
byId("tab-new").addEventListener("click", () => tab("new"));
byId("tab-queue").addEventListener("click", () => tab("queue"));
byId("tab-runs").addEventListener("click", () => tab("runs"));
byId("mark").addEventListener("submit", async (event) => {
  event.preventDefault();
  const words = byId("mark-words").value.trim(), frame = large.frame;
  if (!words) return;
  const told = await act("mark", { words: frame ? `${frame.kind} ${frame.row + 1}: ${words}` : words });
  say(told.ok ? `Marked: ${words}` : told.error, told.ok ? "good" : "bad");
  if (told.ok) byId("mark-words").value = "";
});
window.addEventListener("renumbered", () => now.socket?.close());
byId("fit").addEventListener("click", () => large.fit());
byId("map").append(...MAP_NAMES.map((name) => element("option", { value: name, text: name, selected: name === "fire" })));
byId("map").addEventListener("change", ({ target }) => large.set({ map: target.value }));
for (const name of ["log", "rings"]) byId(name).addEventListener("change", ({ target }) => large.set({ [name]: target.checked }));
byId("auto").addEventListener("change", ({ target }) => large.set({ auto: target.checked }));
for (const name of ["low", "high"]) byId(name).addEventListener("input", ({ target }) => { byId("auto").checked = false; large.set({ auto: false, [name]: Number(target.value) }); });
byId("row").addEventListener("input", ({ target }) => { now.row = Number(target.value); send({ row: now.row, ready: true }); });
byId("newest").addEventListener("click", () => choose(now.kinds[0]));
byId("inset").addEventListener("click", () => now.kinds[1] && choose(now.kinds[1]));
byId("span").addEventListener("change", ({ target }) => { strip.span = Number(target.value); strip.draw(); });
byId("browse").hidden = true;
large.onFineness = finer;
large.onPixel = (text) => setText(byId("pixel"), text);
window.addEventListener("keydown", (event) => { if (event.key === RED_KEY) { event.preventDefault(); if (!event.repeat) red(); } });
setInterval(() => { if (!document.hidden) { strip.draw(); course.draw(); panels.draw(); } }, DRAW_MS * 2);
setInterval(() => { if (!document.hidden && !byId("runs").hidden) runs.load(); }, RUNS_MS);

theme(localStorage.getItem("credline-theme") || "dark");
const named = new URLSearchParams(location.hash.slice(1)).get("run");
await runs.load();
if (named) open(named, false);
connect();
form.begin();
