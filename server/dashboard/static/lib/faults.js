// Why a form was refused: what belongs beside a field, and what concerns none of them.

import { sentence } from "./sentence.js";

// The server tells the rule; where it is a regular expression, people want it in words.
const RULE = "String should match pattern";

/** `fields`: those that the form shows, each with what to say when its form is wrong. */
export function faultsOf(answer, fields) {
  const beside = {};
  const rest = [];
  for (const { path, message } of answer.issues) {
    const name = path.split(".")[0];
    if (!(name in fields)) rest.push(message);
    else beside[name] ??= message.startsWith(RULE) && fields[name] ? fields[name] : plain(message);
  }
  const told = Object.keys(beside).length + rest.length;
  return {
    beside,
    general: told ? rest.join("; ") : sentence(answer),
    until: answer.status === 429 && answer.retryAfter ? Date.now() + answer.retryAfter * 1000 : 0,
  };
}

/** Beside a field nobody needs to be told that it is a string. */
const plain = (message) => message.replace(/^(?:String|List) should have at (least|most)/, "At $1");

export const NO_FAULTS = { beside: {}, general: "", until: 0 };
