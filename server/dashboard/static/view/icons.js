// The few drawings of the page, in the colour of the text around them.

import { html } from "../vendor/htm-preact.js";

const draw = (path) => html`
  <svg class="icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" focusable="false">
    ${path}
  </svg>
`;

export const Mark = () => html`
  <svg class="mark" viewBox="0 0 24 24" width="24" height="24" aria-hidden="true" focusable="false">
    <rect width="24" height="24" rx="6" />
    <path d="M4.5 8h6.5c4 0 3.500 4 7 4h1.500" />
    <path d="M4.5 12h4.500c4 0 3.500 4 7 4h3.500" opacity=".65" />
    <path d="M4.5 16h2.500c2 0 2.500 1.500 4 2.500" opacity=".35" />
  </svg>
`;

export const Bell = () =>
  draw(html`<path d="M8 2a4 4 0 0 0-4 4v2.500L2.750 11h10.500L12 8.500V6a4 4 0 0 0-4-4ZM6.500 13.250a1.600 1.600 0 0 0 3 0" />`);
export const Bin = () =>
  draw(html`<path d="M2.750 4.500h10.500M6 4.500V2.750h4V4.500M4.250 4.500l.5 8.750h6.500l.5-8.750M6.750 7v3.750M9.250 7v3.750" />`);
export const Chevron = () => draw(html`<path d="m6 4 4 4-4 4" />`);
export const Copy = () =>
  draw(html`<rect x="5.500" y="5.500" width="8" height="8" rx="1.500" /><path d="M10.500 3.500a1 1 0 0 0-1-1h-6a1 1 0 0 0-1 1v6a1 1 0 0 0 1 1" />`);
export const Done = () => draw(html`<path d="m3.500 8.500 3 3 6-7" />`);
export const Hook = () => draw(html`<path d="M2.500 3.500h5M2.500 8h3M2.500 12.500h5M9 8h4.500M11 5.500 13.500 8 11 10.500" />`);
export const Key = () => draw(html`<circle cx="5" cy="11" r="2.500" /><path d="m6.750 9.250 6-6M10.500 5.500l2 2" />`);
export const List = () => draw(html`<path d="M5.500 4h8M5.500 8h8M5.500 12h8M2.500 4h.010M2.500 8h.010M2.500 12h.010" />`);
export const Pause = () => draw(html`<path d="M5.500 3.500v9M10.500 3.500v9" />`);
export const Pen = () => draw(html`<path d="M2.750 13.250l.75-3 7.250-7.250 2.250 2.250-7.250 7.250ZM9.250 4.500l2.250 2.250" />`);
export const Person = () => draw(html`<circle cx="8" cy="5.500" r="2.750" /><path d="M2.750 13.500c.5-3 2.500-4 5.250-4s4.750 1 5.250 4" />`);
export const Play = () => draw(html`<path d="M5 3.500v9l7-4.500z" />`);
export const Pulse = () => draw(html`<path d="M1.750 8.500h3l2-5 2.500 9 2-5.500 1 1.500h2" />`);
export const Stop = () => draw(html`<rect x="4" y="4" width="8" height="8" rx="1.250" />`);
export const Streams = () => draw(html`<path d="M2.500 4.500c3 0 3 2 6 2h5M2.500 8c3 0 3 2 6 2h5M2.500 11.500c3 0 3 2 6 2" />`);
export const Upload = () => draw(html`<path d="M8 10.250V2.750M4.750 6 8 2.750 11.250 6M2.750 10.250v3h10.500v-3" />`);
export const Warning = () => draw(html`<path d="M8 2.500 14.250 13.500H1.750ZM8 6.500v3.250M8 11.500v.25" />`);
