"""The viewer's style, controls and script: pixels come as bytes in the page and are drawn by the browser."""

STYLE = """
.viewer { display: flex; flex-wrap: wrap; gap: 1.2rem; margin: .8rem 0; align-items: flex-start; }
.viewer .stage { position: relative; flex: 0 1 384px; min-width: 0; }
.viewer canvas { width: 100%; height: auto; display: block; image-rendering: pixelated; background: black; }
.viewer .tip { position: absolute; pointer-events: none; background: rgb(0 0 0 / .8); color: white; font-size: .8rem; }
.viewer .tip { padding: .2rem .45rem; border-radius: 3px; max-width: 17rem; overflow-wrap: anywhere; }
.viewer form { flex: 1 1 240px; min-width: 0; display: grid; gap: .7rem; max-width: 26rem; }
.viewer label { display: block; font-size: .92rem; }
.viewer input[type=range] { width: 100%; display: block; }
.viewer select { max-width: 100%; font: inherit; }
.viewer fieldset { border: 1px solid var(--line, #e3e6ec); padding: .3rem .7rem .5rem; }
.viewer .said { margin: 0; overflow-wrap: anywhere; white-space: pre-line; min-height: 7.5em; font-size: .92rem; }
.viewer i { display: inline-block; width: .8em; height: .8em; margin-right: .3em; }
"""

CONTROLS = """
<div class="stage"><canvas role="img"></canvas><div class="tip" hidden></div></div>
<form onsubmit="return false">
<label>Subject <select name="subject"></select></label>
<label>Slice <output></output><input type="range" name="slice" min="0" step="1"></label>
<label>Opacity of the heat <input type="range" name="opacity" min="0" max="100" value="65"></label>
<fieldset hidden><legend>True regions</legend></fieldset>
<p class="said" aria-live="polite"></p>
</form>
<noscript><p>The viewer needs JavaScript, from this page alone.</p></noscript>
"""

SCRIPT = """
(() => {
  const bytes = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
  const sides = [[-1, 0, 0, 0, 0, 1], [1, 0, 1, 0, 1, 1], [0, -1, 0, 0, 1, 0], [0, 1, 0, 1, 1, 1]];
  for (const viewer of document.querySelectorAll(".viewer:not([data-ready])")) {
    viewer.dataset.ready = "";
    const data = JSON.parse(viewer.querySelector("script").textContent);
    const [height, width] = data.shape, zoom = Math.max(1, Math.round(384 / width));
    const colours = bytes(data.colours), form = viewer.querySelector("form"), tip = viewer.querySelector(".tip");
    const canvas = viewer.querySelector("canvas"), pen = canvas.getContext("2d");
    const small = Object.assign(document.createElement("canvas"), {width, height}), dots = small.getContext("2d");
    Object.assign(canvas, {width: width * zoom, height: height * zoom});
    const {subject, slice, opacity} = form.elements, said = viewer.querySelector(".said");
    data.subjects.forEach((one, i) => subject.add(new Option(one.name, i)));
    const boxes = data.regions.map(([name, colour, shown]) => {
      const box = Object.assign(document.createElement("input"), {type: "checkbox", checked: shown});
      const label = document.createElement("label"), swatch = document.createElement("i");
      swatch.style.background = colour;
      label.append(box, " ", swatch, name);
      form.querySelector("fieldset").append(label);
      return box;
    });
    form.querySelector("fieldset").hidden = !boxes.length;
    let picture, gray, heat;

    const outline = (mask, colour) => {
      const bit = i => mask[i >> 3] >> (7 - (i & 7)) & 1;
      const inside = (x, y) => x >= 0 && y >= 0 && x < width && y < height && bit(y * width + x);
      pen.beginPath();
      for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) if (inside(x, y))
        for (const [dx, dy, x0, y0, x1, y1] of sides)
          if (!inside(x + dx, y + dy)) {
            pen.moveTo((x + x0) * zoom, (y + y0) * zoom);
            pen.lineTo((x + x1) * zoom, (y + y1) * zoom);
          }
      pen.strokeStyle = colour;
      pen.lineWidth = 2;
      pen.stroke();
    };
    const draw = () => {
      const whole = dots.createImageData(width, height), strength = opacity.value / 100;
      for (let i = 0; i < gray.length; i++) {
        const weight = strength * Math.pow(heat[i] / 255, 0.8);
        for (let c = 0; c < 3; c++) whole.data[4 * i + c] = (1 - weight) * gray[i] + weight * colours[3 * heat[i] + c];
        whole.data[4 * i + 3] = 255;
      }
      dots.putImageData(whole, 0, 0);
      pen.imageSmoothingEnabled = false;
      pen.drawImage(small, 0, 0, width * zoom, height * zoom);
      picture.regions.forEach((mask, i) => { if (boxes[i].checked) outline(bytes(mask), data.regions[i][1]); });
    };
    const choose = () => {
      const slices = data.subjects[subject.value].slices;
      picture = slices[slice.value];
      [gray, heat] = [bytes(picture.image), bytes(picture.heat)];
      viewer.querySelector("output").textContent = `${+slice.value + 1} of ${slices.length}`;
      said.textContent = picture.said;
      canvas.setAttribute("aria-label", `Slice with heat map. ${picture.said}`);
      draw();
    };
    const start = () => {
      slice.max = data.subjects[subject.value].slices.length - 1;
      slice.value = slice.max >> 1;
      choose();
    };
    subject.addEventListener("input", start);
    slice.addEventListener("input", choose);
    opacity.addEventListener("input", draw);
    boxes.forEach(box => box.addEventListener("input", draw));
    canvas.addEventListener("pointermove", event => {
      const within = (share, n) => Math.min(n - 1, Math.max(0, Math.floor(share * n)));
      const x = within(event.offsetX / canvas.clientWidth, width);
      const y = within(event.offsetY / canvas.clientHeight, height);
      const here = heat[y * width + x] / 255;
      tip.textContent = `${picture.brief}; heat here ${here.toFixed(2)}`;
      tip.hidden = false;
      tip.style.left = `${Math.min(event.offsetX + 12, Math.max(0, canvas.clientWidth - tip.offsetWidth))}px`;
      tip.style.top = `${event.offsetY + 16}px`;
    });
    canvas.addEventListener("pointerleave", () => { tip.hidden = true; });
    start();
  }
})();
"""
