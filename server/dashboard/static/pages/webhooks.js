// What providers deliver: the deliveries as they come, one in every detail, and who may deliver.

import { html, useEffect, useMemo, useState } from "../vendor/htm-preact.js";
import { useStore } from "../lib/store.js";
import { useStream } from "../lib/use-stream.js";
import { createCounts, createSources } from "./webhooks/counts.js";
import { createDeliveries } from "./webhooks/deliveries.js";
import { Detail } from "./webhooks/detail.js";
import { fromParams, hrefOf, PATH, toParams } from "./webhooks/filter.js";
import { Deliveries } from "./webhooks/list.js";
import { createOne } from "./webhooks/one.js";
import { Sources } from "./webhooks/sources.js";

export default function WebhooksPage({ app, params }) {
  const [said, say] = useState("");
  const filter = fromParams(params);
  const parts = useMemo(
    () => ({ deliveries: createDeliveries(filter), one: createOne(), counts: createCounts(), sources: createSources() }),
    [],
  );
  const { deliveries, one, counts, sources } = parts;
  const all = () => {
    deliveries.load();
    one.load();
    counts.soon();
    sources.soon();
  };
  useStream(["ops.webhooks"], {
    onEvent: (event) => {
      if (event.type === "webhook.source") sources.soon();
      else deliveries.note(event);
      one.note(event.data);
      counts.soon();
    },
    onGap: all,
    onReady: () => {
      deliveries.begin();
      if (!counts.view.get().loaded) counts.soon();
      if (!sources.view.get().loaded) sources.soon();
    },
  });
  useEffect(() => () => {
    counts.stop();
    sources.stop();
  }, []);

  const id = params.get("id") ?? "";
  const onSources = params.get("view") === "sources";
  useEffect(() => deliveries.filter(filter), [params]);
  useEffect(() => one.show(id), [id]);
  const { sources: known } = useStore(sources.view);

  // A step of its own in the history: back closes it again.
  const open = (next) => app.router.go(PATH, { ...toParams(filter), id: next });
  const shared = { ...parts, known, filter, say, onRefine: (next) => app.router.refine(toParams(next)) };
  return html`
    <ul class="tabs" role="list" aria-label="Webhooks">
      <li><a href=${hrefOf({})} aria-current=${onSources ? undefined : "true"}>Deliveries</a></li>
      <li><a href=${hrefOf({}, { view: "sources" })} aria-current=${onSources ? "true" : undefined}>Sources</a></li>
    </ul>
    ${onSources
      ? html`<${Sources} ...${shared} />`
      : html`
          <div class=${id ? "hooks split" : "hooks"}>
            <${Deliveries} ...${shared} open=${id} onOpen=${open} />
            ${id && html`<${Detail} key=${id} one=${one} known=${known} say=${say} onClose=${() => open("")} />`}
          </div>
        `}
    <p class="visually-hidden" role="status">${said}</p>
  `;
}
