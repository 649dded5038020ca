"""The style sheet of the page."""

CSS = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1b1f24; --quiet: #59636e; --edge: #d8dee4; --soft: #f4f6f8;
  --a: #0b63c5; --b: #c2500a; --c: #1a7f5a; --yes: #1a7f37; --no: #cf222e; }
@media (prefers-color-scheme: dark) { :root { --paper: #0d1117; --ink: #e6edf3; --quiet: #9198a1; --edge: #30363d;
  --soft: #161b22; --a: #58a6ff; --b: #ffa657; --c: #56d4a0; --yes: #3fb950; --no: #ff7b72; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .4rem; letter-spacing: -.01em; }
h2 { font-size: 1.3rem; margin: 3rem 0 .6rem; padding-top: .6rem; border-top: 1px solid var(--edge); }
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; } h4 { font-size: .9rem; margin: 1rem 0 .3rem; font-weight: 600; }
p { max-width: 46rem; margin: .5rem 0; } .lead { font-size: 1.08rem; color: var(--quiet); }
.kicker { text-transform: uppercase; letter-spacing: .09em; font-size: .75rem; color: var(--quiet);
  margin: 0 0 .5rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(12.5rem, 1fr)); gap: .75rem;
  margin: 1.5rem 0 0; }
.tile { background: var(--soft); border: 1px solid var(--edge); border-radius: .5rem; padding: .8rem 1rem; }
.tile b { display: block; font-size: 1.35rem; font-variant-numeric: tabular-nums; }
.tile span { color: var(--quiet); font-size: .84rem; }
.notice { border-left: 3px solid var(--b); background: var(--soft); padding: .6rem .9rem;
  border-radius: 0 .4rem .4rem 0;
  margin: 1.2rem 0; max-width: none; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .87rem; margin: .5rem 0; width: 100%; }
th, td { text-align: left; padding: .32rem .6rem .32rem 0; border-bottom: 1px solid var(--edge);
  vertical-align: top; }
th { font-weight: 600; color: var(--quiet); } td.n, th.n { text-align: right; padding-right: .2rem;
  padding-left: .7rem; }
td.n { font-variant-numeric: tabular-nums; white-space: nowrap; }
.findings td:first-child { width: 3.2rem; } .findings td:nth-child(2) { width: 14rem; font-weight: 600; }
.mark { display: inline-block; min-width: 2.5rem; text-align: center; border-radius: 1rem; font-size: .78rem;
  font-weight: 600; border: 1px solid currentColor; }
.yes { color: var(--yes); } .no { color: var(--no); } .open { color: var(--quiet); }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(19rem, 1fr)); gap: 1rem 1.5rem;
  margin: 1rem 0; }
figure { margin: 0; } figcaption { font-size: .84rem; } .chart svg { width: 100%; height: auto; display: block; }
.legend { display: flex; flex-wrap: wrap; gap: 0 1rem; color: var(--quiet); min-height: 1.5em; }
.chart .swatch { display: inline-block; width: 1.2rem; height: .65rem; margin-right: .35rem; }
svg text { font-size: 11.5px; fill: var(--quiet); } .grid { stroke: var(--edge); stroke-width: 1; }
.level { stroke: var(--quiet); stroke-width: 1; stroke-dasharray: 2 3; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; } .dashed { stroke-dasharray: 5 4; }
.line.a { stroke: var(--a); } .line.b { stroke: var(--b); } .line.c { stroke: var(--c); }
.dot.a { fill: var(--a); } .dot.b { fill: var(--b); } .dot.c { fill: var(--c); }
.band { opacity: .14; } .band.a { fill: var(--a); } .band.b { fill: var(--b); } .band.c { fill: var(--c); }
.strip { display: grid; grid-template-columns: repeat(auto-fill, minmax(6.4rem, 1fr)); gap: .6rem; margin: .8rem 0; }
.row { display: grid; grid-template-columns: repeat(4, 1fr); gap: .6rem; }
.picture figcaption { color: var(--quiet); font-size: .78rem; line-height: 1.3; overflow: hidden;
  text-overflow: ellipsis; }
.picture img { width: 100%; display: block; background: #000; border-radius: .2rem; } .strip .picture + .picture {
  margin-top: 3px; }
dl { display: grid; grid-template-columns: minmax(9rem, 13rem) 1fr; gap: .35rem 1.2rem; font-size: .92rem;
  margin: .6rem 0; }
dt { font-weight: 600; } dd { margin: 0; overflow-wrap: anywhere; } li { max-width: 46rem; margin: .25rem 0; }
code, .hash { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: .86em; }
footer { margin-top: 3rem; color: var(--quiet); font-size: .82rem; border-top: 1px solid var(--edge);
  padding-top: .8rem; }
@media (max-width: 40rem) { dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .5rem; }
  .row { grid-template-columns: repeat(2, 1fr); } .findings td:nth-child(2) { width: 8rem; } }
@media print { :root { color-scheme: light; --paper: #fff; --ink: #000; --quiet: #444; --edge: #bbb; --soft: #fff;
  --a: #0b63c5;
  --b: #c2500a; --c: #1a7f5a; --yes: #1a7f37; --no: #cf222e; } body { font-size: 10.5pt; }
  main { max-width: none; padding: 0; } h2 { break-after: avoid; margin-top: 1.6rem; }
  figure, tr, .tile, .outcome, .notice { break-inside: avoid; } .pair { grid-template-columns: 1fr 1fr; }
  .picture img, .dot, .band, .line { -webkit-print-color-adjust: exact; print-color-adjust: exact; } }
"""
