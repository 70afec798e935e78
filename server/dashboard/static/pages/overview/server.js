// The figures of the server: of all its processes, or of the one that the reader chose.

import { html, useMemo } from "../../vendor/htm-preact.js";
import { plural } from "../../lib/format.js";
import { SPAN } from "../../lib/figures.js";
import { CHARTS, COLUMNS, sentence, up } from "./charts.js";
import { Chart } from "./chart.js";

const MODES = { notify: "notified of events", polling: "polls the log: notifications do not arrive" };

export function ServerFigures({ figures, now, chosen, onChoose }) {
  // Read once a second, whatever else is drawn.
  const read = useMemo(() => figures.read(now, chosen), [now, chosen]);
  const several = !chosen && read.processes.length > 1;
  return html`
    <section class="card" aria-labelledby="server-title">
      <div class="head">
        <h2 id="server-title">The server <span class="muted">last ${SPAN / 60} minutes</span></h2>
        <${Chooser} processes=${read.processes} chosen=${chosen} onChoose=${onChoose} />
      </div>
      <${About} processes=${read.processes} chosen=${chosen} />
      <ul class="figures" role="list">
        ${CHARTS.map((chart) => html`<${Figure} key=${chart.label} chart=${chart} read=${read} several=${several} />`)}
      </ul>
      ${read.processes.length > 1 && html`<${Processes} processes=${read.processes} chosen=${chosen} onChoose=${onChoose} />`}
    </section>
  `;
}

function Chooser({ processes, chosen, onChoose }) {
  const gone = chosen && !processes.some(({ process }) => process === chosen);
  return html`
    <label class="chooser">
      <span>Process</span>
      <select value=${chosen} onChange=${(change) => onChoose(change.target.value)}>
        <option value="" selected=${!chosen}>All (${processes.length})</option>
        ${processes.map(({ process, pid }) => html`<option key=${process} value=${process} selected=${chosen === process}>${process}, pid ${pid}</option>`)}
        ${gone && html`<option value=${chosen} selected>${chosen}, not heard</option>`}
      </select>
    </label>
  `;
}

function About({ processes, chosen }) {
  const data = chosen ? processes.find(({ process }) => process === chosen) : processes.length === 1 && processes[0];
  let text = "Waiting for the server’s figures.";
  if (data) {
    text = `Process ${data.process}, pid ${data.pid}, version ${data.version}; up ${up(data.uptime)}; at ${data.position}; ${MODES[data.mode] ?? data.mode}.`;
  } else if (chosen) text = `Process ${chosen} has ended, or can’t be heard.`;
  else if (processes.length) text = `${plural(processes.length, "process", "processes")} together.`;
  return html`<p class="help about">${text}</p>`;
}

function Figure({ chart, read, several }) {
  const { lines, always = [], format, absent } = chart;
  const now = Object.fromEntries(Object.entries(read.lines).map(([name, values]) => [name, values.at(-1)]));
  const shown = lines
    .filter(({ name }) => lines.length < 3 || always.includes(name) || read.lines[name].some(Boolean))
    .map(({ name }) => name);
  const heard = now.clients !== null;
  const present = now[lines[0].name];
  const value = chart.value && heard ? chart.value(now) : present === null ? "–" : format(present);
  return html`
    <li class="tile">
      <h3>${chart.label}</h3>
      <span class="value">${value}</span>
      <span class="note">${present === null ? (heard && absent) || "waiting" : chart.note(now, several)}</span>
      ${lines.length > 1 && html`<${Legend} lines=${lines.filter(({ name }) => shown.includes(name))} now=${now} format=${format} />`}
      <p class="visually-hidden">${sentence(chart, shown, read)}</p>
      <${Chart} times=${read.times} values=${read.lines} lines=${lines} shown=${shown}
        format=${format} floor=${chart.floor} steps=${chart.steps} sparse=${chart.sparse} />
    </li>
  `;
}

const Legend = ({ lines, now, format }) => html`
  <ul class="legend" role="list" aria-hidden="true">
    ${lines.map(
      ({ name, label, style: [ink, dash] }) => html`
        <li key=${name}>
          <svg class=${`ink-${ink}`} width="22" height="8" aria-hidden="true" focusable="false">
            <line x1="0" y1="4" x2="22" y2="4" stroke-dasharray=${dash.join(" ")} />
          </svg>
          ${label} <b>${now[name] === null ? "–" : format(now[name])}</b>
        </li>
      `,
    )}
  </ul>
`;

function Processes({ processes, chosen, onChoose }) {
  return html`
    <div class="processes" role="region" aria-label="Processes one by one" tabindex="0">
      <table>
        <caption class="visually-hidden">Processes one by one</caption>
        <thead>
          <tr><th scope="col">Process</th>${COLUMNS.map(([title]) => html`<th key=${title} scope="col">${title}</th>`)}</tr>
        </thead>
        <tbody>
          ${processes.map(
            (data) => html`
              <tr key=${data.process} class=${data.process === chosen ? "chosen" : ""}>
                <th scope="row">
                  <button type="button" class="link mono" aria-pressed=${String(data.process === chosen)}
                    onClick=${() => onChoose(data.process === chosen ? "" : data.process)}>${data.process}</button>
                </th>
                ${COLUMNS.map(([title, of]) => html`<td key=${title}>${of(data)}</td>`)}
              </tr>
            `,
          )}
        </tbody>
      </table>
    </div>
  `;
}
