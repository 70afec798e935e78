// Posts: a form for one more, and those that are there, the newest first.

import { html, useRef } from "../../vendor/htm-preact.js";
import { useStore } from "../../lib/store.js";
import { POSTS, Post, PostForm, effect } from "./post.js";

export function Posts({ list, user, send }) {
  const { rows, next, error, loaded, busy } = useStore(list.view);
  const heading = useRef(null);
  const create = (body) => send("POST", POSTS, body, (post) => effect("insert", post.id));
  return html`
    <section class="card posts" aria-labelledby="posts-title">
      <div class="head"><h2 id="posts-title" ref=${heading} tabindex="-1">Posts</h2><span class="muted">channel <code>posts</code></span></div>
      <${PostForm} name="post" onSend=${create} verb="Post" />
      ${error && html`<p class="told error" role="alert">The list could not be loaded. ${error}. <button type="button" class="link" onClick=${list.load}>Try again</button></p>`}
      ${!loaded && !error && html`<p class="told muted">Loading …</p>`}
      ${loaded && rows.length === 0 && html`<p class="told muted">No posts yet. Write the first one, or insert a row into <code>posts</code>.</p>`}
      ${rows.length > 0 && html`
        <ul class="entries" role="list" aria-label="Posts, newest first">
          ${rows.map((post) => html`<${Post} key=${post.id} post=${post} user=${user} send=${send} onGone=${() => heading.current?.focus()} />`)}
        </ul>
      `}
      ${next && html`<p class="told"><button type="button" disabled=${busy} onClick=${list.more}>Show more</button></p>`}
    </section>
  `;
}
