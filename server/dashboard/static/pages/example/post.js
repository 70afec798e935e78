// One post: to read, and for its author (and admins) to change and to delete.

import { html, useRef, useState } from "../../vendor/htm-preact.js";
import { NO_FAULTS, faultsOf } from "../../lib/faults.js";
import { ago } from "../../lib/format.js";
import { sentence } from "../../lib/sentence.js";
import { Field, Refusal, useFaultFocus } from "../../view/form.js";
import { Bin, Pen } from "../../view/icons.js";
import { SureButton } from "../../view/sure-button.js";

export const POSTS = "/api/posts";
const FIELDS = { title: "One line, please", content: "" };

/** As the list has them, from a row of the table. */
export const postFrom = ({ id, title, content, author_id: authorId, created_at: createdAt, updated_at: updatedAt }) => ({
  id: String(id),
  title,
  content,
  authorId,
  createdAt,
  updatedAt,
});

/** The one event that a change of a post makes. */
export const effect = (type, id) => [(event) => event.channel === "posts" && event.type === type && event.key === id, 1];

export function Post({ post, user, send, onGone }) {
  const [edited, edit] = useState(null); // the post as it was when editing began
  const [fault, setFault] = useState("");
  const pen = useRef(null);
  const isOwn = post.authorId === user.id;
  const path = `${POSTS}/${encodeURIComponent(post.id)}`;

  const save = async (body) => {
    const answer = await send("PATCH", path, body, () => effect("update", post.id));
    if (answer.ok) stop();
    return answer;
  };
  const stop = () => {
    edit(null);
    requestAnimationFrame(() => pen.current?.focus());
  };
  const remove = async () => {
    const answer = await send("DELETE", path, undefined, () => effect("delete", post.id));
    setFault(answer.ok ? "" : sentence(answer));
    if (answer.ok) onGone();
  };
  return html`
    <li class="entry">
      <div class="line1">
        <strong class="clip" title=${post.title}>${post.title}</strong>
        ${(isOwn || user.role === "admin") && !edited && html`
          <span class="tools">
            <button type="button" class="quiet" ref=${pen} aria-label=${`Edit ${post.title}`} title="Edit" onClick=${() => edit(post)}><${Pen} /></button>
            <${SureButton} label=${`Delete ${post.title}`} onSure=${remove} again="Delete?"><${Bin} /><//>
          </span>
        `}
      </div>
      <p class="meta1 muted"><${Author} isOwn=${isOwn} id=${post.authorId} /> · <time datetime=${post.createdAt} title=${post.createdAt}>${ago(post.createdAt)}</time>${post.updatedAt !== post.createdAt && " · edited"} · <span class="mono">#${post.id}</span></p>
      ${edited
        ? html`
            ${edited.updatedAt !== post.updatedAt && html`<p class="help changed" role="status">It was changed elsewhere meanwhile: “${post.title}”. Saving replaces that.</p>`}
            <${PostForm} name=${`post-${post.id}`} start=${edited} onSend=${save} onCancel=${stop} verb="Save" />
          `
        : html`<p class="content">${post.content}</p>`}
      ${fault && html`<p class="help error" role="alert">It was not deleted. ${fault}.</p>`}
    </li>
  `;
}

function Author({ isOwn, id }) {
  return isOwn ? "you" : html`<span class="mono" title=${id}>${id.slice(0, 8)}</span>`;
}

export function PostForm({ name, start = { title: "", content: "" }, onSend, onCancel, verb }) {
  const [draft, setDraft] = useState({ title: start.title, content: start.content });
  const [faults, setFaults] = useState(NO_FAULTS);
  const [busy, work] = useState(false);
  const form = useRef(null);
  useFaultFocus(form, faults);
  const edit = (field) => (input) => setDraft((now) => ({ ...now, [field]: input.target.value }));

  const submit = async (event) => {
    event.preventDefault();
    if (busy) return;
    work(true);
    const answer = await onSend(draft);
    work(false);
    setFaults(answer.ok ? NO_FAULTS : faultsOf(answer, FIELDS));
    if (!answer.ok || onCancel) return;
    setDraft({ title: "", content: "" });
    form.current?.elements[0].focus();
  };
  return html`
    <form class="fields" onSubmit=${submit} novalidate ref=${form} aria-label=${onCancel ? `Edit ${start.title}` : "New post"}>
      <${Field} id=${`${name}-title`} label="Title" fault=${faults.beside.title}>
        ${(more) => html`<input ...${more} value=${draft.title} autocomplete="off" onInput=${edit("title")} />`}
      <//>
      <${Field} id=${`${name}-content`} label="Content" fault=${faults.beside.content}>
        ${(more) => html`<textarea ...${more} rows="3" value=${draft.content} onInput=${edit("content")}></textarea>`}
      <//>
      <${Refusal} faults=${faults} />
      <div class="submit">
        <button type="submit" class="primary" disabled=${busy}>${verb}</button>
        ${onCancel && html`<button type="button" onClick=${onCancel}>Cancel</button>`}
      </div>
    </form>
  `;
}
