// JSON Schemas as people read them: a type in a few words, an object as the list of its fields.

import { html } from "/static/vendor/htm-preact.js";
import { Words } from "./words.js";

const DEEP = 5;

export function resolve(api, value) {
  let found = value;
  while (found?.$ref) {
    const path = found.$ref.slice(2).split("/");
    const { $ref, ...beside } = found;
    found = { ...path.reduce((at, key) => at[key], api), ...beside };
  }
  return found;
}

// "$ref" hides the name, which is what says most.
const nameOf = (schema) => schema?.$ref?.split("/").pop();
const either = (schema) => schema.anyOf ?? schema.oneOf;

export function inWords(api, schema) {
  if (nameOf(schema)) return nameOf(schema);
  if ("const" in schema) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((item) => JSON.stringify(item)).join(" | ");
  if (either(schema)) return either(schema).map((item) => inWords(api, { type: schema.type, ...item })).join(" | ");
  if (schema.type === "array") return `list of ${inWords(api, schema.items ?? {})}`;
  return schema.format ?? [schema.type].flat().join(" | ") ?? "anything";
}

function bounds(schema) {
  const found = [];
  const range = (low, high, unit) => {
    if (low === undefined && high === undefined) return;
    const words = low === undefined ? `at most ${high}` : high === undefined ? `at least ${low}` : `${low} to ${high}`;
    found.push(`${words} ${unit}`.trim());
  };
  range(schema.minLength, schema.maxLength, "characters");
  range(schema.minItems, schema.maxItems, "items");
  range(schema.minimum, schema.maximum, "");
  if (schema.default !== undefined && schema.default !== null) found.push(`default ${JSON.stringify(schema.default)}`);
  return found;
}

function patterns(schema) {
  return [schema.pattern, schema.items?.pattern, ...(either(schema) ?? []).map((item) => item.pattern)].filter(Boolean);
}

export function Type({ api, schema }) {
  const limits = [...bounds(schema), ...(schema.items ? bounds(schema.items) : [])];
  const examples = (schema.examples ?? schema.items?.examples ?? []).map((item) => (typeof item === "string" ? item : JSON.stringify(item)));
  return html`
    <p class="type">
      <span>${inWords(api, schema) || "anything"}</span>
      ${limits.map((limit) => html`<span class="muted">, ${limit}</span>`)}
      ${examples.length > 0 && html`<span class="muted">, such as </span>`}
      ${examples.map((example, index) => html`${index > 0 && ", "}<code>${example}</code>`)}
    </p>
    ${patterns(schema).map((pattern) => html`<p class="pattern muted">matches <code>${pattern}</code></p>`)}`;
}

// The objects within: what a list holds, each of several forms, a reference.
function inner(api, schema) {
  const found = resolve(api, schema);
  if (found.properties) return [{ name: nameOf(schema), object: found }];
  if (found.type === "array") return inner(api, found.items ?? {});
  return (either(found) ?? []).flatMap((item) => inner(api, item));
}

export function Shape({ api, schema, depth = 0 }) {
  const found = resolve(api, schema);
  const objects = inner(api, schema);
  if (objects.length === 0) return html`<${Type} api=${api} schema=${found} />`;
  const list = depth === 0 && found.type === "array" && html`<p class="type">${inWords(api, found)}</p>`;
  return html`${list}${objects.map(
    ({ name, object }, index) => html`
      ${index > 0 && html`<p class="or muted">or</p>`}
      <${Fields} api=${api} name=${name} object=${object} depth=${depth} />`,
  )}`;
}

function Fields({ api, name, object, depth }) {
  const required = object.required ?? [];
  return html`
    <dl class="fields" data-schema=${name}>${Object.entries(object.properties).map(
      ([field, schema]) => html`
        <div>
          <dt><code>${field}</code>${required.includes(field) && html`<span class="must" title="always there">*</span>`}</dt>
          <dd>
            <${Type} api=${api} schema=${schema} />
            ${schema.description && html`<${Words} text=${schema.description} />`}
            ${depth < DEEP && inner(api, schema).length > 0 && html`<${Shape} api=${api} schema=${schema} depth=${depth + 1} />`}
          </dd>
        </div>`,
    )}</dl>`;
}
