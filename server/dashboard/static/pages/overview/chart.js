// One small plot (uPlot on a canvas), redrawn when its data change: once a second, and not while
// nobody looks.

import uPlot from "../../vendor/uplot.js";
import { html, useEffect, useRef } from "../../vendor/htm-preact.js";
import { clock } from "../../lib/format.js";

const HEIGHT = 112;
const EDGE = 14; // seconds at either side without a label, which would be cut
const STEPS = [1, 2, 5].flatMap((step) => [step, step * 10, step * 100, step * 1e3, step * 1e4, step * 1e5, step * 1e6]).sort((a, b) => a - b);
const TOKENS = { accent: "--accent", good: "--good", warn: "--warn", bad: "--bad", muted: "--muted", word: "--json-word" };

/** `steps`: the distances that the labels of the plot may have. `lines`: [{ name, style: [colour, dash] }]; `shown`: the names of those that are drawn. */
export function Chart({ times, values, lines, shown, format, floor, steps = STEPS, sparse }) {
  const box = useRef(null);
  const plot = useRef(null);

  useEffect(() => {
    const chart = new uPlot(options(box.current.clientWidth, lines, { format, steps, sparse }), null, box.current);
    plot.current = chart;
    const resized = new ResizeObserver(() => chart.setSize({ width: box.current.clientWidth, height: HEIGHT }));
    resized.observe(box.current);
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    const recolour = () => {
      palette = null;
      chart.redraw(false, true);
    };
    scheme.addEventListener("change", recolour);
    return () => {
      resized.disconnect();
      scheme.removeEventListener("change", recolour);
      chart.destroy();
    };
  }, []);

  useEffect(() => {
    const chart = plot.current;
    let highest = 0;
    lines.forEach(({ name }, index) => {
      const visible = shown.includes(name);
      if (visible) for (const value of values[name]) if (value > highest) highest = value;
      if (chart.series[index + 1].show !== visible) chart.setSeries(index + 1, { show: visible });
    });
    chart.batch(() => {
      chart.setData([times, ...lines.map(({ name }) => values[name])], false);
      chart.setScale("x", { min: times[0], max: times.at(-1) });
      chart.setScale("y", { min: 0, max: Math.max(floor, highest * 1.15) });
    });
  }, [times, shown.join()]);

  return html`<div class="canvas" ref=${box} aria-hidden="true"></div>`;
}

/** The values between empty seconds, which would be no line at all. */
function alone(chart, line) {
  const values = chart.data[line];
  return values.flatMap((value, at) => (value !== null && (values[at - 1] ?? null) === null && (values[at + 1] ?? null) === null ? [at] : []));
}

let palette = null;

function colour(name) {
  if (!palette) {
    const style = getComputedStyle(document.documentElement);
    palette = { line: style.getPropertyValue("--line").trim(), fill: style.getPropertyValue("--plot-fill").trim() };
    for (const [token, property] of Object.entries(TOKENS)) palette[token] = style.getPropertyValue(property).trim();
  }
  return palette[name];
}

function options(width, lines, { format, steps, sparse }) {
  const axis = {
    font: '11px "Inter", system-ui, sans-serif',
    stroke: () => colour("muted"),
    ticks: { show: false },
  };
  return {
    width,
    height: HEIGHT,
    padding: [8, 8, 0, 0],
    legend: { show: false },
    cursor: { show: false },
    scales: { x: { time: true, auto: false }, y: { auto: false } },
    series: [
      {},
      ...lines.map(({ style: [ink, dash] }) => ({
        stroke: () => colour(ink),
        fill: lines.length === 1 ? () => colour("fill") : undefined,
        width: 1.5,
        dash,
        points: { show: Boolean(sparse), filter: alone, size: 5, stroke: () => colour(ink), fill: () => colour(ink) },
      })),
    ],
    axes: [
      {
        ...axis,
        size: 22,
        gap: 4,
        incrs: [60],
        grid: { show: false },
        values: (chart, splits) => {
          const { min, max } = chart.scales.x;
          const fits = (second) => second > min + EDGE && second < max - EDGE;
          return splits.map((second) => (fits(second) ? clock(second * 1000).slice(0, 5) : ""));
        },
      },
      {
        ...axis,
        size: 64,
        gap: 8,
        space: 28,
        incrs: steps,
        grid: { stroke: () => colour("line"), width: 1 },
        values: (_, splits) => splits.map((value) => format(value)),
      },
    ],
  };
}
