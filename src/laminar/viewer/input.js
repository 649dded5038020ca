// What the hands do: mouse and keys as radiology viewers have them.
const at = (id) => document.getElementById(id), root = at("panes");
const panes = [], bars = [];
for (const row of ROWS) {
  for (const file of columns) panes.push(makePane(row, file, root));
  bars.push(makeBar(row, root));
}

let waiting = false, film = null;

function draw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    fit();
    panes.forEach(drawPane);
    bars.forEach(drawBar);
    [at("slice").value, at("state").value] = [view.slice, view.state];
    const name = told.names[view.slice] || told.first + view.slice;
    at("slice-text").textContent = `${name} (${view.slice + 1} of ${told.slices})`;
    at("state-text").textContent = view.state ? `${view.state} of ${STATES - 1}` : "source";
    for (const name of Object.keys(shown)) at(name).setAttribute("aria-pressed", shown[name]);
    at("cursor").textContent = footer();
  });
}

// Panes as large as the window has room for, so that two rows need not be scrolled; in a small one they are.
const SMALLEST = 180, BAR = 84, GAP = 8, TEXT = 48;

function fit() {
  const count = visible().length, tiers = Math.min(2, rows().length);
  const room = innerHeight - at("head").offsetHeight - at("cursor").offsetHeight - 3 * GAP - tiers * TEXT;
  const tall = (Math.max(room / tiers, SMALLEST) * WIDTH) / TALL;
  const wide = (innerWidth - BAR - (count + 3) * GAP) / count;
  root.style.gridTemplateColumns = `repeat(${count}, ${Math.max(SMALLEST, Math.floor(Math.min(tall, wide)))}px) ${BAR}px`;
}

function footer() {
  const { low, high } = windowOf("image"), parts = [`window ${format(high - low)}, level ${format((high + low) / 2)}`];
  if (view.cursor) parts.push(`row ${view.cursor.row}, column ${view.cursor.column}`);
  for (const { name, metrics } of files.filter((file) => file.metrics)) {
    const known = [["psnr", "dB PSNR", 2], ["ssim", "SSIM", 4]].filter(([key]) => metrics[key] != null);
    parts.push(`${name}, whole volume: ${known.map(([key, unit, n]) => `${metrics[key].toFixed(n)} ${unit}`).join(", ")}`);
  }
  return [...parts, "not for diagnostic use"].join("   ·   ");
}

const within = (value, low, high) => Math.max(low, Math.min(high, value));

function move(name, by, count) {
  view[name] = within(view[name] + by, 0, count - 1);
  draw();
}

function zoom(factor) {
  view.zoom = within(view.zoom * factor, 1, 32);
  draw();
}

function play() {
  if (film) film = clearInterval(film);
  else film = setInterval(() => { view.state = (view.state + 1) % STATES; draw(); }, 700);
  at("play").textContent = film ? "■" : "▶";
}

function toggle(name) {
  if (has[name]) shown[name] = !shown[name];
  draw();
}

function enlarge(column) {
  if (column < columns.length) view.alone = view.alone === column ? null : column;
  draw();
}

function otherScan(by) {
  const place = told.scans.indexOf(told.scan) + by;
  if (told.scans[place]) location.assign(encodeURIComponent(told.scans[place]));
}

function reset() {
  resetView();
  draw();
}

// Right widens, up raises the level; errors and standard deviations begin at zero, so there the end alone moves.
function changeWindow(row, right, up) {
  if (row === "image" && shown.phase) return;
  const ends = windows[row], width = ends.high - ends.low;
  const white = told.white[view.slice];
  if (row !== "image") ends.high = Math.max(white * 1e-4, ends.high * Math.exp((right + up) / 200));
  else {
    const wider = Math.max(white * 1e-3, width * Math.exp(right / 200));
    const level = (ends.high + ends.low) / 2 + (up / 300) * white;
    windows.image = { low: level - wider / 2, high: level + wider / 2 };
  }
}

function drag(pane, event) {
  const right = event.movementX, down = event.movementY;
  if (event.shiftKey || event.buttons & 6) {
    view.x = within(view.x - right / (pane.canvas.clientWidth * view.zoom), 0, 1);
    view.y = within(view.y - down / (pane.canvas.clientHeight * view.zoom), 0, 1);
  } else changeWindow(pane.row, right, -down);
}

function point(pane, event) {
  const box = pane.canvas.getBoundingClientRect(), { left, top, across, down } = placed(box.width, box.height);
  const row = Math.floor((event.clientY - box.top - top) / down);
  const column = Math.floor((event.clientX - box.left - left) / across);
  view.cursor = row >= 0 && row < HEIGHT && column >= 0 && column < WIDTH ? { row, column } : null;
}

// A touchpad reports a turn of the wheel in many small parts.
let turned = 0;

function turn(by) {
  turned += by;
  if (Math.abs(turned) < 40) return 0;
  const step = Math.sign(turned);
  turned = 0;
  return step;
}

for (const pane of panes) {
  const { canvas } = pane;
  pane.name.addEventListener("click", () => enlarge(columns.indexOf(pane.file)));
  canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
  canvas.addEventListener("pointermove", (event) => {
    if (event.buttons) drag(pane, event);
    point(pane, event);
    draw();
  });
  canvas.addEventListener("pointerleave", () => { view.cursor = null; draw(); });
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("dblclick", reset);
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    if (event.ctrlKey) zoom(Math.exp(-event.deltaY / 500));
    else move("slice", turn(event.deltaY), told.slices);
  }, { passive: false });
}

const KEYS = {
  ArrowUp: () => move("slice", -1, told.slices), ArrowDown: () => move("slice", 1, told.slices),
  ArrowLeft: () => move("state", -1, STATES), ArrowRight: () => move("state", 1, STATES),
  " ": () => STATES > 1 && play(), "+": () => zoom(1.2), "=": () => zoom(1.2), "-": () => zoom(1 / 1.2),
  PageUp: () => move("slice", -5, told.slices), PageDown: () => move("slice", 5, told.slices),
  Home: () => move("slice", -told.slices, told.slices), End: () => move("slice", told.slices, told.slices),
  "[": () => otherScan(-1), "]": () => otherScan(1), 0: () => enlarge(view.alone),
  p: () => toggle("phase"), e: () => toggle("error"), u: () => toggle("spread"), r: reset,
  "?": () => (at("keys").open ? at("keys").close() : at("keys").showModal()),
};
for (let n = 1; n <= Math.min(9, columns.length); n++) KEYS[n] = () => enlarge(n - 1);
addEventListener("keydown", (event) => {
  if (event.target.tagName === "SELECT") return;
  if (event.ctrlKey || event.metaKey || event.altKey || !KEYS[event.key]) return;
  if (event.target.tagName === "BUTTON" && event.key === " ") return; // it presses the button
  event.preventDefault();
  KEYS[event.key]();
});
addEventListener("resize", draw);

for (const [name, count] of [["slice", told.slices], ["state", STATES]]) {
  at(name).max = count - 1;
  at(name).addEventListener("input", (event) => { view[name] = +event.target.value; draw(); });
}
for (const name of told.scans) element("option", at("scan"), { textContent: name, value: name, selected: name === told.scan });
at("scan").addEventListener("change", (event) => location.assign(encodeURIComponent(event.target.value)));
at("scans").hidden = told.scans.length < 2;
at("film").hidden = STATES < 2;
for (const name of Object.keys(shown)) {
  at(name).hidden = !has[name];
  at(name).addEventListener("click", () => toggle(name));
}
at("play").addEventListener("click", play);
at("reset").addEventListener("click", reset);
at("help").addEventListener("click", KEYS["?"]);
reset();
