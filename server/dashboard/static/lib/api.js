// JSON over HTTP to our own server. Never throws: every outcome is a value that can be shown.

const PATIENCE = 15_000;

/** `signal`: ends the request instead of the usual patience, where it may take as long as it takes. */
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
    const data = parse(await answer.text());
    if (answer.ok) return { ok: true, status: answer.status, data };
    const retryAfter = Number(answer.headers.get("Retry-After")) || 0; // seconds
    return { ok: false, status: answer.status, data, retryAfter, ...problem(answer.status, data) };
  } catch (fault) {
    const late = fault.name === "TimeoutError";
    const error = late ? "The server did not answer within 15 seconds" : "The server cannot be reached";
    return { ok: false, status: 0, error, issues: [] };
  }
}

/** Why a stream was refused. An EventSource tells no status, so the same request is made by hand. */
export async function whyRefused(path) {
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), PATIENCE);
  try {
    const headers = { Accept: "text/event-stream" };
    const answer = await fetch(path, { headers, cache: "no-store", signal: stop.signal });
    if (answer.ok) return { ok: true, status: answer.status };
    const data = parse(await answer.text());
    return { ok: false, status: answer.status, ...problem(answer.status, data) };
  } catch {
    return { ok: false, status: 0, error: "The server cannot be reached", issues: [] };
  } finally {
    clearTimeout(timer);
    stop.abort();
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
