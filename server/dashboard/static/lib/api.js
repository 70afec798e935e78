// JSON over HTTP to our own server. Never throws: every outcome is a value that can be shown.

const PATIENCE = 15_000;

/** `text` of an answer is its JSON as it came, with all digits of its numbers.
 * `signal`: ends the request instead of the usual patience, where it may take as long as it takes. */
export async function call(method, path, { body, bearer, signal } = {}) {
  const headers = { Accept: "application/json" };
  if (typeof body === "string") headers["Content-Type"] = "application/json";
  if (bearer) headers.Authorization = `Bearer ${bearer}`;
  try {
    const answer = await fetch(path, {
      method,
      headers,
      body,
      cache: "no-store",
      signal: signal ?? AbortSignal.timeout(PATIENCE),
    });
    const text = await answer.text();
    const data = parse(text);
    // From where a stream goes on without a hole behind what was read; null where nothing is told.
    const position = answer.headers.get("Stream-Position");
    if (answer.ok) return { ok: true, status: answer.status, data, text, position };
    const retryAfter = Number(answer.headers.get("Retry-After")) || 0; // seconds
    return { ok: false, status: answer.status, data, retryAfter, ...problem(answer.status, data) };
  } catch (fault) {
    const late = fault.name === "TimeoutError";
    const error = late ? "The server did not answer within 15 seconds" : "The server cannot be reached";
    return { ok: false, status: 0, error, issues: [] };
  }
}

/** The server's problem+json, or what can be said when something else answered (a proxy). */
function problem(status, data) {
  const said = data && typeof data === "object" ? data : {};
  const issues = Array.isArray(said.issues) ? said.issues : [];
  return {
    error: String(said.error ?? `The server answered ${status}`),
    detail: said.detail ? String(said.detail) : "",
    issues: issues.map((issue) => ({
      path: Array.isArray(issue.path) ? issue.path.join(".") : "",
      message: String(issue.message ?? ""),
    })),
  };
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
