"""How fast the player opens and steps in headless Chromium, and how large its page is. `make bench` prints it.

python tests/player/bench_player.py
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from statistics import median

import flashsteps as fs
from flashsteps.player import page as view

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.player.browser import browser  # noqa: E402

OPEN, STEP, EVENTS = 1.0, 0.016, 20_000  # seconds, at most, for a run of so many events
TIMES, PLUS = 1.5, 500_000  # bytes: so many times the trace's values, and so many more, at most

#: what is kept as A beside what is dragged
PINNED = {"a": "flash-forward", "bq": 4, "bk": 4, "mask": "none"}

#: from a page's start until the player has drawn its first picture
OPENED = """async () => {
  while (!window.flashsteps) await new Promise(requestAnimationFrame);
  await new Promise(requestAnimationFrame);
  return performance.now() / 1000;
}"""

#: seconds that steps and jumps take, laid out and drawn: script, style and layout
STEPPED = """(kind) => {
  const player = window.flashsteps, took = [], last = player.last;
  for (let n = 0; n < 200; n++) {
    const middle = Math.floor(last / 2);
    const to = { step: middle + n, back: middle - n, jump: (n * 7919) % last }[kind];
    const start = performance.now();
    player.go(to);
    document.body.getBoundingClientRect();
    took.push((performance.now() - start) / 1000);
  }
  return took;
}"""


#: seconds that a new block takes the explorer at N = 64, all of it counted, drawn and laid out
DRAGGED = """async (more) => {
  const page = window.flashsteps, took = [];
  page.change({ n: 64, in: "0", ...more });
  await new Promise((done) => setTimeout(done, 300));
  for (const bq of [1, 2, 4, 8, 16, 32, 64]) {
    for (const bk of [1, 2, 4, 8, 16, 32, 64]) {
      const start = performance.now();
      page.change({ bq, bk });
      document.body.getBoundingClientRect();
      took.push((performance.now() - start) / 1000);
      await new Promise(requestAnimationFrame);
    }
  }
  return took;
}"""


def main() -> None:
    bench_player()
    bench_explorer()


def bench_explorer(rounds: int = 5) -> None:
    """Print how fast the explorer opens, and answers a block that is dragged at N = 64."""
    from flashsteps.explorer import page as explorer

    print("\nThe explorer in headless Chromium\n")
    with tempfile.TemporaryDirectory() as folder, browser() as running:
        path = Path(folder) / "explorer.html"
        explorer.write(path)
        size, opened = path.stat().st_size, []
        for _ in range(rounds):
            page = running.new_page(viewport={"width": 1440, "height": 900})
            page.goto(path.as_uri())
            opened.append(page.evaluate(OPENED))
        print(f"  page {size / 1e3:.0f} KB, {verdict(size < 500_000, '< 500 KB')}")
        print(f"  opens in {median(opened):.2f} s, {verdict(median(opened) < 0.5, '< 0.5 s')}")
        for name, more in {"FA2": {}, "FA2, causal, beside FA1": {"mask": "causal", "pin": PINNED}}.items():
            took = page.evaluate(DRAGGED, more)
            good = verdict(median(took) < STEP, f"< {1e3 * STEP:.0f} ms")
            print(f"  a block dragged, {name}: {1e3 * median(took):.1f} ms, longest {1e3 * max(took):.1f} ms, {good}")


def bench_player(rounds: int = 5) -> None:
    """Print what the player takes for a run of 20,000 events."""
    runs = {
        "flash2-forward, 4×4 tiles": ("flash2-forward", "random:200,32", 4),
        "flash-forward, 16×16 tiles": ("flash-forward", "random:576,64", 16),
    }
    print(f"\nThe player in headless Chromium, the middle of {rounds} openings and of 200 steps\n")
    with tempfile.TemporaryDirectory() as folder, browser() as running:
        for name, (algorithm, source, block) in runs.items():
            trace = fs.record(algorithm, *fs.load_qkv(source), block_q=block, block_k=block)
            path = Path(folder) / "run.html"
            view.write(path, trace)
            values = sum(value.nbytes for value in trace.values if value is not None)
            size = path.stat().st_size
            opened, steps = [], dict[str, list[float]]()
            for _ in range(rounds):
                page = running.new_page(viewport={"width": 1440, "height": 900})
                page.goto(path.as_uri())
                opened.append(page.evaluate(OPENED))
                if len(opened) == rounds:
                    steps = {kind: page.evaluate(STEPPED, kind) for kind in ("step", "back", "jump")}
                page.close()
            good = size < TIMES * values + PLUS
            print(f"{name}: {len(trace):,} events, {values / 1e6:.1f} MB of values")
            print(f"  page {size / 1e6:.1f} MB, {verdict(good, f'< {TIMES} × values + {PLUS / 1e3:.0f} KB')}")
            print(f"  opens in {median(opened):.2f} s, {verdict(median(opened) < OPEN, f'< {OPEN:g} s')}")
            for kind, took in steps.items():
                wanted = "" if kind == "jump" else ", " + verdict(median(took) < STEP, f"< {1e3 * STEP:.0f} ms")
                print(f"  {kind} {1e3 * median(took):.1f} ms, longest {1e3 * max(took):.1f} ms{wanted}")


def verdict(good: bool, wanted: str) -> str:
    return f"wanted {wanted}: {'ok' if good else 'SHORT'}"


if __name__ == "__main__":
    main()
