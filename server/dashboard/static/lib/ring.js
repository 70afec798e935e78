// The newest rows, bounded twice: by number and by size, so that neither a flood nor a few huge
// events fill the tab's memory.

export const KEEP = 1_000;
const KEEP_CHARS = 8_000_000;

export class Ring {
  #rows = []; // oldest first; cut back to what is kept now and then, not for each event
  #size = 0;

  add(row) {
    this.#rows.push(row);
    this.#size += row.raw.length;
    if (this.#rows.length > KEEP * 2) this.#cut(this.#rows.length - KEEP);
    while (this.#size > KEEP_CHARS && this.#rows.length > 1) this.#cut(1);
  }

  newest(most = KEEP) {
    return this.#rows.slice(-Math.min(most, KEEP)).reverse();
  }

  where(test) {
    const picked = new Ring();
    for (const row of this.#rows) if (test(row)) picked.add(row);
    return picked;
  }

  #cut(count) {
    for (const row of this.#rows.splice(0, count)) this.#size -= row.raw.length;
  }
}
