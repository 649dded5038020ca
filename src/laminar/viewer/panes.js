// What is shown: one column a file, the reference first; rows of images, errors and uncertainty.
// `alone` is the number of the one column that is shown, null for all of them.
const told = JSON.parse(document.getElementById("told").textContent);
const [HEIGHT, WIDTH] = told.shape, SIZE = HEIGHT * WIDTH, TALL = HEIGHT * told.pixel; // TALL: in widths of a pixel
const KINDS = ["image", "phase", "states", "std", "lower", "upper"];
const files = told.files.map((file) => withImages(file));
const reference = told.reference && withImages({ ...told.reference, name: "reference", n: 1 });
const columns = reference ? [reference, ...files] : files;
const STATES = Math.max(...files.map((file) => file.n));
const has = { spread: files.some((file) => file.std), error: !!reference, phase: files.some((file) => file.phase) };
const shown = { phase: false, error: has.error, spread: has.spread };
const ROWS = ["image", "error", "spread"].filter((row) => row === "image" || has[row]);
const view = { slice: told.slices >> 1, state: STATES - 1, zoom: 1, x: 0.5, y: 0.5, cursor: null, alone: null };
const windows = {};

function withImages(file) {
  const images = KINDS.filter((kind) => file[kind]).map((kind) => [kind, new Images(file[kind], SIZE)]);
  return { ...file, ...Object.fromEntries(images) };
}

function resetView() {
  Object.assign(view, { zoom: 1, x: 0.5, y: 0.5 });
  const white = told.white[view.slice];
  windows.image = { low: 0, high: white };
  for (const row of ["error", "spread"]) windows[row] = { low: 0, high: middlePeak(row) || white / 10 };
}

// The end of a scale on which the middle one of the files still fits: the worst would leave the good ones black.
function middlePeak(row) {
  const peaks = has[row] ? files.map((file) => numbers(row, file)).filter((values) => values).map(peak) : [];
  return peaks.sort((a, b) => a - b)[peaks.length >> 1];
}

const peak = (values) => values.slice().sort()[Math.floor(0.995 * (values.length - 1))];

// A file with fewer states than another stays at its last.
const stateOf = (file) => Math.min(view.state, file.n - 1);
const windowOf = (row) => (row === "image" && shown.phase ? { low: -Math.PI, high: Math.PI } : windows[row]);
const colorsOf = (row) => COLORS[row !== "image" ? "heat" : shown.phase ? "cycle" : "gray"];

function magnitude(file) {
  const state = stateOf(file);
  if (file.states && state < file.n - 1) return file.states.image(state * told.slices + view.slice);
  return file.image.image(view.slice);
}

const visible = () => (view.alone === null ? columns : [columns[view.alone]]);
const holds = (row, file) => row === "image" || (row === "error" ? file !== reference : !!file.std);
const rows = () => ROWS.filter((row) => (row === "image" || shown[row]) && visible().some((file) => holds(row, file)));

// The numbers of a pane (y, x), or null where the file has none.
function numbers(row, file) {
  if (row === "spread") return file.std ? file.std.image(view.slice) : null;
  if (row === "image") return shown.phase ? file.phase && file.phase.image(view.slice) : magnitude(file);
  if (file === reference) return null;
  const truth = reference.image.image(view.slice);
  return magnitude(file).map((value, i) => Math.abs(value - truth[i]));
}

const format = (value) => (value === 0 ? "0" : Math.abs(value) >= 1e-2 && Math.abs(value) < 1e5 ?
  String(+value.toPrecision(4)) : value.toExponential(2));

function caption(row, file) {
  if (row === "error") return "|error|";
  if (row === "spread") return "standard deviation";
  const state = stateOf(file), parts = [];
  if (file.n > 1) parts.push(state ? `cascade ${state} of ${file.n - 1}` : "source");
  if (file.times && file.times.length) parts.push(`t = ${file.times[state].toFixed(2)}`);
  const psnr = file.psnr && file.psnr[state][view.slice];
  if (psnr != null) parts.push(`${psnr.toFixed(2)} dB`);
  return parts.join(" · ");
}

// What is under the cursor: with the interval that the samples give it, and the truth if it is known.
function reading(row, file, values) {
  if (!view.cursor || !values) return "";
  const at = view.cursor.row * WIDTH + view.cursor.column;
  if (row !== "spread" || !file.lower) return format(values[at]) + (row === "image" && shown.phase ? " rad" : "");
  const [lower, upper] = [file.lower, file.upper].map((images) => images.image(view.slice)[at]);
  const level = file.level == null ? "interval" : `${+(100 * file.level).toPrecision(3)} % interval`;
  const truth = reference && reference.image.image(view.slice)[at];
  const holds = truth == null ? "" : truth >= lower && truth <= upper ? ", holds the reference" : ", misses the reference";
  return `σ ${format(values[at])}, ${level} ${format(lower)} to ${format(upper)}${holds}`;
}

function element(tag, parent, properties = {}) {
  return parent.appendChild(Object.assign(document.createElement(tag), properties));
}

function makePane(row, file, parent) {
  const figure = element("figure", parent, { className: row }), head = element("figcaption", figure);
  const pane = { row, file, figure, name: element("button", head, { type: "button", textContent: file.name }) };
  pane.name.title = `${file.name}: alone, or beside the others (${columns.indexOf(file) + 1})`;
  pane.note = element("span", head);
  pane.canvas = element("canvas", figure);
  pane.canvas.style.aspectRatio = `${WIDTH} / ${TALL}`;
  pane.canvas.setAttribute("role", "img");
  pane.value = element("div", figure, { className: "value" });
  pane.source = Object.assign(document.createElement("canvas"), { width: WIDTH, height: HEIGHT });
  return pane;
}

function makeBar(row, parent) {
  const box = element("div", parent, { className: "bar" });
  return { row, box, high: element("span", box), canvas: element("canvas", box), low: element("span", box) };
}

function drawBar({ row, box, high, canvas, low }) {
  box.hidden = !rows().includes(row);
  const ends = windowOf(row);
  [high.textContent, low.textContent] = [format(ends.high), format(ends.low)];
  Object.assign(canvas, { width: 1, height: 256 });
  const context = canvas.getContext("2d"), data = context.createImageData(1, 256);
  new Uint32Array(data.data.buffer).set(Uint32Array.from(colorsOf(row)).reverse());
  context.putImageData(data, 0, 0);
}

// Where the image lies in a canvas of this size: the left and upper end, and the sides of one of its pixels there.
function placed(width, height) {
  const across = (width / WIDTH) * view.zoom, down = across * told.pixel;
  return { left: width / 2 - view.x * WIDTH * across, top: height / 2 - view.y * HEIGHT * down, across, down };
}

function drawPane(pane) {
  const { row, file, figure, canvas } = pane;
  figure.hidden = !rows().includes(row) || !visible().includes(file);
  if (figure.hidden) return;
  const values = numbers(row, file), ratio = window.devicePixelRatio || 1;
  pane.note.textContent = values ? caption(row, file) : `no ${row === "image" ? "phase" : "samples"} in the file`;
  canvas.setAttribute("aria-label", `${file.name}, ${row}, slice ${told.first + view.slice}`);
  canvas.width = Math.round(canvas.clientWidth * ratio);
  canvas.height = Math.round((canvas.width * TALL) / WIDTH);
  pane.value.textContent = reading(row, file, values);
  figure.style.visibility = row !== "image" && file === reference ? "hidden" : "visible";
  canvas.style.visibility = values ? "inherit" : "hidden";
  if (!values) return;
  const context = canvas.getContext("2d"), own = pane.source.getContext("2d");
  const data = own.createImageData(WIDTH, HEIGHT), place = placed(canvas.width, canvas.height);
  paint(values, windowOf(row), colorsOf(row), new Uint32Array(data.data.buffer));
  own.putImageData(data, 0, 0);
  context.imageSmoothingEnabled = false;
  context.drawImage(pane.source, place.left, place.top, WIDTH * place.across, HEIGHT * place.down);
  if (view.cursor) drawCursor(context, canvas, place);
}

function drawCursor(context, canvas, { left, top, across, down }) {
  const x = left + (view.cursor.column + 0.5) * across, y = top + (view.cursor.row + 0.5) * down;
  context.strokeStyle = "#6cb2ffaa";
  context.beginPath();
  for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) { // a cross that leaves its pixel free
    context.moveTo(x + dx * (across / 2 + 4), y + dy * (down / 2 + 4));
    context.lineTo(x + dx * canvas.width, y + dy * canvas.height);
  }
  context.stroke();
}

