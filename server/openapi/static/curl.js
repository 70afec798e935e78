// A line for the shell that does what an operation does, with values that it would take.

import { html, useEffect, useState } from "/static/vendor/htm-preact.js";
import { resolve } from "./schema.js";

const STREAM = "text/event-stream";
const FORMATS = { "date-time": "2026-11-22T16:04:05Z", uuid: "6f1c1c0e-6a3d-4b5e-9d5c-0b8f7a1e2d3c", email: "ada@example.com" };

export function example(api, schema, name = "") {
  const found = resolve(api, schema);
  const some = found.examples?.[0] ?? found.const ?? found.enum?.[0] ?? found.default;
  if (some !== undefined && some !== null) return some;
  const forms = found.anyOf ?? found.oneOf;
  if (forms) return example(api, forms.find((item) => item.type !== "null") ?? {}, name);
  if (found.properties) {
    const fields = Object.entries(found.properties).filter(([field]) => found.required?.includes(field));
    return Object.fromEntries(fields.map(([field, item]) => [field, example(api, item, field)]));
  }
  if (found.type === "array") return [example(api, found.items ?? {}, name)];
  if (found.type === "integer" || found.type === "number") return Math.max(1, found.minimum ?? 1);
  if (found.type === "boolean") return true;
  if (found.type === "string") return FORMATS[found.format] ?? "x".repeat(Math.max(0, (found.minLength ?? 0) - name.length - 1)) + (name || "text");
  return { n: 1 };
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

export function curl(api, item) {
  let path = item.path;
  const query = [];
  const headers = [];
  for (const parameter of item.parameters ?? []) {
    const value = () => [example(api, parameter.schema, parameter.name)].flat().map((one) => encodeURIComponent(one));
    if (parameter.in === "path") path = path.replace(`{${parameter.name}}`, value()[0]);
    else if (parameter.in === "query" && parameter.required) query.push(...value().map((one) => `${parameter.name}=${one}`));
    else if (parameter.in === "header" && parameter.required) headers.push("-H", quoted(`${parameter.name}: ${parameter.example}`));
  }
  const words = ["curl"];
  if (Object.values(item.responses).some((answer) => answer.content?.[STREAM])) words.push("-N");
  if (item.method !== "get") words.push("-X", item.method.toUpperCase());
  if (item.security?.length > 0 && !item.security.some((one) => Object.keys(one).length === 0)) words.push("-H", '"Authorization: Bearer $TOKEN"');
  words.push(...headers);
  const body = item.requestBody?.content["application/json"];
  if (body) words.push("-H", quoted("Content-Type: application/json"), "-d", quoted(JSON.stringify(example(api, body.schema))));
  words.push(quoted(`${location.origin}${path}${query.length > 0 ? `?${query.join("&")}` : ""}`));
  return words.join(" ");
}

export function Copyable({ text }) {
  const [said, say] = useState("");
  useEffect(() => {
    const timer = said && setTimeout(say, 1600, "");
    return () => clearTimeout(timer);
  }, [said]);
  // Without the clipboard API (plain http on another host) the line can be selected by one click.
  const press = () => navigator.clipboard?.writeText(text).then(() => say("Copied"), () => say("Select it"));
  return html`
    <div class="curl">
      <pre tabindex="0"><code>${text}</code></pre>
      ${navigator.clipboard && html`<button type="button" onClick=${press} aria-label="Copy the curl line"><span role="status">${said || "Copy"}</span></button>`}
    </div>`;
}
