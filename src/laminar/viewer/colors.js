// Color maps: 256 colors each, between the anchors of "gray", "inferno" and the cyclic "twilight".
const ANCHORS = {
  gray: "000000 ffffff",
  heat: "000004 110a30 320a5e 57106e 781c6d 9a2865 bc3754 d84c3e ed6925 f98e09 fbb61a f4df53 fcffa4",
  cycle: "e2d9e2 b3c6ce 7ba1c2 6276ba 5e43a5 4e186f 2f1436 581647 8e2c50 b25652 c68a6d d4bcac e2d9e2",
};

function colorMap(anchors) {
  const points = anchors.split(" ").map((hex) => [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16)));
  const colors = new Uint32Array(256);
  for (let i = 0; i < 256; i++) {
    const place = (i / 255) * (points.length - 1), low = Math.min(Math.floor(place), points.length - 2);
    const [r, g, b] = points[low].map((v, c) => Math.round(v + (points[low + 1][c] - v) * (place - low)));
    colors[i] = (255 << 24) | (b << 16) | (g << 8) | r;
  }
  return colors;
}

const COLORS = Object.fromEntries(Object.entries(ANCHORS).map(([name, anchors]) => [name, colorMap(anchors)]));

function paint(values, { low, high }, colors, pixels) {
  const scale = 255 / (high - low);
  for (let i = 0; i < values.length; i++) {
    pixels[i] = colors[Math.max(0, Math.min(255, Math.round((values[i] - low) * scale)))];
  }
}

