// What forms are made of: a field with its fault beside it, and what was refused as a whole.

import { html, useEffect, useState } from "../vendor/htm-preact.js";

/** `children`: draws the control, given what ties it to its label, help and fault. */
export function Field({ id, label, help, fault, children }) {
  const described = [fault && `${id}-fault`, help && `${id}-help`].filter(Boolean).join(" ");
  const more = { id, "aria-invalid": fault ? "true" : undefined, "aria-describedby": described || undefined };
  return html`
    <div class="field">
      <label for=${id}>${label}</label>
      ${children(more)}
      ${fault && html`<p id=${`${id}-fault`} class="help error">${fault}</p>`}
      ${help && html`<p id=${`${id}-help`} class="help">${help}</p>`}
    </div>
  `;
}

/** What no field is to blame for; of too many requests, how long to wait. */
export function Refusal({ faults }) {
  const { general, until } = faults;
  const [now, tick] = useState(Date.now);
  useEffect(() => {
    tick(Date.now());
    const timer = until && setInterval(() => tick(Date.now()), 1000);
    return () => clearInterval(timer);
  }, [until]);
  if (!general) return null;
  const left = Math.ceil((until - now) / 1000);
  return html`
    <p class="help error" role="alert">${stop(general)}</p>
    ${until > 0 && html`<p class="help">${left > 0 ? `Try again in ${left < 100 ? `${left} s` : `${Math.ceil(left / 60)} min`}.` : "You can try again now."}</p>`}
  `;
}

const stop = (text) => (/[.!?]$/.test(text) ? text : `${text}.`);

/** To the first field that was refused, once it is drawn as such. */
export function useFaultFocus(form, faults) {
  useEffect(() => {
    form.current?.querySelector('[aria-invalid="true"]')?.focus();
  }, [faults]);
}
