// When to redraw: at most once per frame, and less often the more a redraw costs, so that a flood
// of events takes a bounded share of the main thread and the page stays responsive.

const SHARE = 12; // a redraw that took 5 ms is followed by at least 60 ms without one

export function paced(draw, { least = () => 0 } = {}) {
  let wanted = false;
  let notBefore = 0;

  function frame() {
    const now = performance.now();
    if (now < notBefore) {
      // Sleep until it is due instead of polling every frame.
      setTimeout(() => requestAnimationFrame(frame), notBefore - now);
      return;
    }
    wanted = false;
    draw();
    // What the browser does with the new nodes (style, layout) counts as well: it runs after this
    // frame's callbacks, so the cost is taken at the first task that follows.
    setTimeout(() => {
      const cost = Math.min(performance.now() - now, 100);
      notBefore = now + Math.max(cost > 4 ? cost * SHARE : 0, least());
    });
  }

  return function request() {
    if (wanted) return;
    wanted = true;
    // In a hidden tab this never fires; what is shown is bounded, so nothing piles up.
    requestAnimationFrame(frame);
  };
}
