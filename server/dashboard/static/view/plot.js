// Events per second over the last two minutes (uPlot on a canvas). New data comes once a second;
// between, the window glides, so that the line flows instead of jumping.

import uPlot from "../vendor/uplot.js";
import { html, useEffect, useRef } from "../vendor/htm-preact.js";
import { SPAN } from "../lib/meter.js";
import { clock, count } from "../lib/format.js";

const HEIGHT = 168;
const FRAME = 1000 / 30; // a line this slow needs no more, and an idle page should stay cool
const EDGE = 4; // seconds
const ANNOUNCE = 15; // seconds between two texts for screen readers

export function Plot({ read }) {
  const box = useRef(null);
  const plot = useRef(null);
  const summary = useRef("");
  const beat = useRef(0);

  useEffect(() => {
    const chart = new uPlot(options(box.current.clientWidth), [read.times, read.rates], box.current);
    plot.current = chart;
    const resized = new ResizeObserver(() => chart.setSize({ width: box.current.clientWidth, height: HEIGHT }));
    resized.observe(box.current);
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    const recolour = () => {
      palette = colours();
      chart.redraw(false, true);
    };
    recolour();
    scheme.addEventListener("change", recolour);
    const stop = glide(chart);
    return () => {
      stop();
      resized.disconnect();
      scheme.removeEventListener("change", recolour);
      chart.destroy();
    };
  }, []);

  useEffect(() => {
    plot.current?.setData([read.times, read.rates], false);
  }, [read.times.at(-1)]);

  if (beat.current++ % ANNOUNCE === 0) {
    summary.current = `Events per second over the last two minutes: now ${count(read.rate)}, at most ${count(read.peak)}.`;
  }
  return html`
    <figure class="plot">
      <figcaption aria-hidden="true">Events per second <span class="muted">received here, last 2 minutes</span></figcaption>
      <div class="canvas" ref=${box} role="img" aria-label=${summary.current}></div>
    </figure>
  `;
}

/** Move the window along with time: up to the last second that is complete, seen one later. */
function glide(chart) {
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  let frame = 0;
  let last = 0;
  let edge = 0;
  const step = (moment) => {
    frame = requestAnimationFrame(step);
    if (moment - last < FRAME) return;
    last = moment;
    const now = Date.now() / 1000 - 1;
    const max = still.matches ? Math.floor(now) : now;
    if (max === edge) return;
    edge = max;
    chart.batch(() => {
      chart.setScale("x", { min: max - SPAN + 2, max });
      chart.setScale("y", { min: 0, max: ceiling(chart.data[1]) });
    });
  };
  frame = requestAnimationFrame(step);
  return () => cancelAnimationFrame(frame);
}

const ceiling = (rates) => Math.max(4, Math.max(...rates) * 1.15); // null counts as 0

let palette = {};

function colours() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(name).trim();
  return { line: of("--accent"), fill: of("--plot-fill"), grid: of("--line"), text: of("--muted") };
}

function options(width) {
  const font = '11px "Inter", system-ui, sans-serif';
  const axis = {
    font,
    stroke: () => palette.text,
    ticks: { show: false },
    grid: { stroke: () => palette.grid, width: 1 },
  };
  return {
    width,
    height: HEIGHT,
    padding: [8, 0, 0, 0],
    legend: { show: false },
    cursor: { show: false },
    scales: { x: { time: true, auto: false }, y: { auto: false } },
    series: [
      {},
      {
        stroke: () => palette.line,
        fill: () => palette.fill,
        width: 1.5,
        points: { show: false },
        paths: uPlot.paths.spline(),
      },
    ],
    axes: [
      {
        ...axis,
        size: 24,
        gap: 4,
        space: 72,
        grid: { show: false },
        incrs: [15, 30, 60],
        values: (chart, splits) => {
          // Too near an edge a label would be cut in half, or run into the other axis'.
          const { min, max } = chart.scales.x;
          const fits = (second) => second > min + EDGE && second < max - EDGE;
          return splits.map((second) => (fits(second) ? clock(second * 1000).slice(0, 8) : ""));
        },
      },
      {
        ...axis,
        size: 48,
        gap: 8,
        space: 40,
        // Whole events only.
        incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5],
        values: (_, splits) => splits.map(count),
      },
    ],
  };
}
