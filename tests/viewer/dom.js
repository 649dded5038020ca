// As much of a browser as the page's script asks for. Reads a page and a list of actions, prints what the page says after each.
const fs = require("fs"), vm = require("vm");
const [, , page, actions] = process.argv;
const html = fs.readFileSync(page, "utf8"), listeners = {}, known = {};

function make(tag) {
  const own = {}, attributes = {};
  return {
    tagName: tag.toUpperCase(), style: {}, textContent: "", clientWidth: 80, clientHeight: 96, offsetHeight: 0, children: [], own, attributes,
    appendChild(child) { this.children.push(child); return child; },
    addEventListener(name, listener) { own[name] = listener; },
    setAttribute(name, value) { attributes[name] = value; },
    setPointerCapture() {}, remove() { this.textContent = null; },
    getBoundingClientRect() { return { left: 0, top: 0, width: this.clientWidth, height: this.clientHeight }; },
    getContext() {
      this.context ??= {
        createImageData: (w, h) => ({ data: new Uint8ClampedArray(4 * w * h) }),
        putImageData: (data) => { this.painted = data.data; },
        drawImage() {}, beginPath() {}, moveTo() {}, lineTo() {}, stroke() {},
      };
      return this.context;
    },
  };
}

for (const [, tag, id] of html.matchAll(/<(\w+)[^>]* id="([\w-]+)"/g)) known[id] = make(tag);
for (const [, id, text] of html.matchAll(/<script type="[^"]*" id="([\w-]+)">([^<]*)</g)) known[id].textContent = text;
const context = {
  document: { getElementById: (id) => known[id], createElement: make }, window: {}, innerWidth: 800, innerHeight: 600, atob, setInterval, clearInterval,
  addEventListener: (name, listener) => { listeners[name] = listener; }, requestAnimationFrame: (draw) => draw(),
};
vm.createContext(context);
vm.runInContext(html.match(/<script>([^]*)<\/script><\/body>/)[1], context);
const panes = () => vm.runInContext("panes", context);
const said = [];
for (const { key, pane, ...event } of JSON.parse(actions)) {
  if (key) listeners.keydown({ key, target: known.panes, preventDefault() {} });
  else panes()[pane].canvas.own[event.type]({ preventDefault() {}, ...event });
  said.push({
    footer: known.cursor.textContent,
    panes: panes().map(({ note, value, figure, source }) => ({
      note: note.textContent, value: value.textContent, hidden: figure.hidden, gray: source.painted && source.painted[0],
    })),
  });
}
console.log(JSON.stringify(said));
