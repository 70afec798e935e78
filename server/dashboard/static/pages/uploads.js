// The reader's files: a place to drop more, a bar for each that is under way in any tab, a gallery.

import { html } from "../vendor/htm-preact.js";
import { createSender } from "../lib/sending.js";
import { createStream } from "../lib/stream.js";
import { createUploads } from "../lib/uploads.js";
import { Uploads } from "../view/uploads.js";

export default function UploadsPage({ app }) {
  // What this tab sends goes on while the reader looks elsewhere, and so does what is told of it.
  const sender = app.part("sender", () => createSender({ about: app.about }));
  const uploads = app.part("uploads", () => followed(createUploads({ isOwn: sender.isOwn }), sender, app.about.user));
  return html`<${Uploads} about=${app.about} uploads=${uploads} sender=${sender} />`;
}

/** Of whoever is signed in. */
function followed(uploads, sender, user) {
  const stream = createStream({ onEvent: uploads.note, onGap: uploads.again, onReady: uploads.begin });
  let before = "";
  const follow = () => {
    uploads.follow(user.get());
    const channel = uploads.channel();
    if (channel === before) return;
    if (before) sender.forget();
    before = channel;
    if (channel) stream.listen([channel]);
    else stream.close();
  };
  user.watch(follow);
  follow();
  return uploads;
}
