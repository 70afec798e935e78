// npm `tus-js-client`: uploads so many bytes of text to the address given, and tells what it did.

import * as tus from "tus-js-client";

const [endpoint, key, size] = process.argv.slice(2);
const tell = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

const upload = new tus.Upload(Buffer.alloc(Number(size), "0123456789abcde\n"), {
  endpoint,
  headers: { Authorization: `Bearer ${key}` },
  metadata: { filename: "numbers.txt", filetype: "text/plain", policy: "documents" },
  retryDelays: [0, 50, 200, 1000],
  onAfterResponse: (request, response) =>
    tell({
      event: request.getMethod(),
      status: response.getStatus(),
      offset: Number(response.getHeader("Upload-Offset")),
    }),
  onSuccess: () => tell({ event: "success", url: upload.url }),
  onError: (error) => tell({ event: "error", message: String(error) }),
});
upload.start();
