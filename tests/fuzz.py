"""Properties under new examples, for as long as it is told; it stops at the first that breaks, and says how it did.

python tests/fuzz.py SECONDS

`make test` tries the same examples every time. This takes the files with properties in random order, again and again,
one a core, each time with examples that nobody has seen.
"""

import os
import random
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).parent

#: properties alone, with examples at random; one that is broken is enough
PYTEST = ("-m", "pytest", "-q", "-x", "-m", "hypothesis", "--hypothesis-profile=fuzz", "-p", "no:cacheprovider")


def main(seconds: float) -> int:
    """0 when the time is over and nothing broke, 1 when something did."""
    files = [file for file in HERE.rglob("test_*.py") if re.search(r"^@given|given\(", file.read_text("utf-8"), re.M)]
    broken: list[str] = []
    end, lock, runs = time.monotonic() + seconds, threading.Lock(), [0]

    def work() -> None:
        while not broken and (left := end - time.monotonic()) > 0:
            file = random.choice(files)
            try:
                done = subprocess.run(
                    [sys.executable, *PYTEST, str(file)], cwd=HERE.parent, capture_output=True, text=True, timeout=left
                )
            except subprocess.TimeoutExpired:
                return
            with lock:
                runs[0] += 1
                if done.returncode not in (0, 5):  # 5: its properties are all skipped here
                    broken.append(f"{file.relative_to(HERE.parent)}\n\n{done.stdout}{done.stderr}")

    workers = [threading.Thread(target=work) for _ in range(os.cpu_count() or 1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    print(broken[0] if broken else f"{runs[0]} files through in {seconds:g} s, and nothing broke.")
    return int(bool(broken))


if __name__ == "__main__":
    given = sys.argv[1:]
    if len(given) != 1 or not re.fullmatch(r"\d+(\.\d+)?", given[0]):
        sys.exit("usage: python tests/fuzz.py SECONDS")
    sys.exit(main(float(given[0])))
