// Uppy with its tus plugin, as a page has it: `send` uploads so many bytes of text.
import Uppy from "@uppy/core";
import Tus from "@uppy/tus";

const uppy = new Uppy({ meta: { policy: "documents" } }).use(Tus, {
  endpoint: "/api/uploads/tus",
  retryDelays: [0, 50, 200, 1000],
});

(window as any).send = async (size: number) => {
  const data = new Blob(["0123456789abcde\n".repeat(size / 16)], { type: "text/plain" });
  uppy.addFile({ name: "numbers.txt", type: "text/plain", data });
  const result = await uppy.upload();
  const [file] = result?.successful ?? [];
  return { failed: result?.failed?.length, url: file?.uploadURL, state: file?.progress };
};
