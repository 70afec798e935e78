/** Why something was refused, in words. */
export function sentence({ error, detail, issues }) {
  const said = issues.map((issue) => issue.message).filter(Boolean);
  return [error, detail || said.join("; ")].filter(Boolean).join(": ");
}
