"""How reports look and what they do on a click: style and script of a page, kept in it, so that it needs no network.

Light and dark follow the reader's system; paper is always light. Pictures are drawn on white and stay so. Tables of
three columns and more are lists on a phone; what is still too wide scrolls inside its own box. Without the script
everything can be read; with it pictures enlarge.
"""

CSS = """
:root {
  color-scheme: light dark;
  --ink: #1d2433; --soft: #566074; --line: #e3e6ec; --accent: #0068a3; --paper: #ffffff; --wash: #f5f7fa;
  --lead: #eef5fb;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --ink: #e4e8ef; --soft: #a9b3c3; --line: #343c4a; --accent: #6db8f2; --paper: #171c24; --wash: #0f1319;
    --lead: #1b2a3a;
  }
}
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--wash); color: var(--ink); overflow-wrap: break-word; }
body { font: 16px/1.55 system-ui, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; }
main { max-width: 980px; margin: 0 auto; padding: 2.5rem 3rem 3rem; background: var(--paper); }
a { color: var(--accent); }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.3rem; margin: 2.4rem 0 .6rem; padding-top: 1.1rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.6rem 0 .4rem; }
p, li { max-width: 46rem; }
p { margin: .5rem 0; }
ul { padding-left: 1.2rem; margin: .5rem 0; }
li { margin: .2rem 0; }
.when { color: var(--soft); margin-bottom: 1.4rem; }
.lead { background: var(--lead); border-left: 4px solid var(--accent); padding: .8rem 1.1rem; max-width: none; }
.note { color: var(--soft); font-size: .92rem; }
nav { margin: 1.4rem 0 0; }
nav p { font-weight: 600; }
nav ol { margin: .3rem 0; padding-left: 1.5rem; columns: 2; column-gap: 2rem; }
nav li { break-inside: avoid; }
figure { margin: 1.1rem 0; }
figure img { max-width: 100%; height: auto; display: block; background: white; border-radius: 3px; }
figcaption { color: var(--soft); font-size: .9rem; margin-top: .3rem; max-width: 46rem; }
figcaption b { color: var(--ink); }
figure.table figcaption { margin: 0 0 .1rem; }
.row { display: flex; flex-wrap: wrap; gap: 1.2rem; align-items: flex-start; }
.row figure { flex: 1 1 260px; min-width: 0; max-width: 100%; margin: .4rem 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .4rem 0; font-variant-numeric: tabular-nums; font-size: .93rem; }
th, td { padding: .32rem .9rem .32rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
thead th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
tbody th { font-weight: 400; }
th.n, td.n { text-align: right; }
pre { background: var(--wash); padding: .8rem; overflow-x: auto; font-size: .8rem; border-radius: 4px; }
summary { cursor: pointer; color: var(--accent); }
button.enlarge { border: 0; padding: 0; background: none; cursor: zoom-in; display: block; max-width: 100%; }
dialog.enlarged { border: 0; padding: .6rem; max-width: 98vw; max-height: 98vh; overflow: auto; background: white; }
dialog.enlarged img { display: block; cursor: zoom-out; }
dialog::backdrop { background: rgb(0 0 0 / .7); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
@media (max-width: 700px) {
  main { padding: 1.2rem 1rem 2rem; }
  h1 { font-size: 1.5rem; }
  nav ol { columns: 1; }
}
@media screen and (max-width: 700px) {
  /* A wide table becomes a list: each row under its name, each cell after the name of its column. */
  @supports selector(:has(a)) {
    table:has([data-head]) { width: 100%; }
    table:has([data-head]) :is(tbody, th, td) { display: block; }
    table:has([data-head]) thead { position: absolute; clip-path: inset(50%); width: 1px; overflow: hidden; }
    table:has([data-head]) tbody tr {
      display: grid; grid-template-columns: repeat(auto-fill, minmax(7rem, 1fr)); gap: .1rem 1rem;
      padding: .5rem 0; border-bottom: 1px solid var(--line);
    }
    table:has([data-head]) tbody :is(th, td) { padding: 0; border: 0; min-width: 0; grid-column: 1 / -1; }
    table:has([data-head]) tbody th { font-weight: 600; }
    table:has([data-head]) tbody td.n { display: flex; justify-content: space-between; gap: .8rem; grid-column: auto; }
    /* Numbers stand side by side; one alone stands as words do. */
    table:has([data-head]) tbody td.n:not(.n + *):not(:has(+ .n)) { justify-content: start; grid-column: 1 / -1; }
    [data-head]::before { content: attr(data-head); color: var(--soft); font-weight: 400; margin-right: .7rem; }
    td.n[data-head]::before { text-align: left; max-width: 55%; margin: 0; }
  }
}
@media print {
  body { background: white; font-size: 10.5pt; }
  main { padding: 0; max-width: none; }
  nav, dialog { display: none; }
  h2, h3, figcaption { break-after: avoid; }
  figure, tr { break-inside: avoid; }
  figure.table { break-inside: auto; }
  .scroll { overflow: visible; }
  a { color: inherit; text-decoration: none; }
}
"""

SCRIPT = """
(() => {
  const box = document.createElement("dialog"), big = new Image();
  box.className = "enlarged";
  box.append(big);
  document.body.append(box);
  box.addEventListener("click", () => box.close());
  for (const picture of document.querySelectorAll("figure > img")) {
    const button = document.createElement("button");
    button.className = "enlarge";
    button.title = "Enlarge; Escape closes";
    picture.replaceWith(button);
    button.append(picture);
    button.addEventListener("click", () => {
      big.src = picture.src;
      big.alt = picture.alt;
      box.setAttribute("aria-label", picture.alt);
      box.showModal();
    });
  }
})();
"""
