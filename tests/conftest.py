"""What all tests share: one flag, how Hypothesis looks for examples, one thread, and Triton's interpreter for kernels.

`make test` is the same every time: examples follow from the tests alone. `make fuzz` (fuzz.py) looks for new ones.
"""

import gc
import os
import signal
import sys
from typing import Any

import pytest
from hypothesis import settings

os.environ["TRITON_INTERPRET"] = "1"  # read when Triton is imported; what is compiled is compiled in other processes
for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # each core has a worker, and threads that wait spin
    os.environ.setdefault(threads, "1")
#: where jsonschema finds this, it makes a grammar of addresses for 4 s, in each worker; no schema here asks for it
absent: dict[str, Any] = {"rfc3987_syntax": None}
sys.modules.update(absent)
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup has it ignored, and what is begun from here would ignore it, too
gc.disable()  # until all is imported: nothing of that is garbage
if sys.platform != "linux":
    collect_ignore = ["kernels"]  # there is no Triton elsewhere

settings.register_profile("flashsteps", deadline=None, derandomize=True, max_examples=40)
settings.register_profile("fuzz", deadline=None, print_blob=True)
settings.load_profile("flashsteps")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--regenerate", action="store_true", help="write the golden frames anew instead of comparing")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(
        key=lambda item: item.path.name != "test_readme.py"
    )  # one of it is long: were it last, others would wait


def pytest_collection_finish() -> None:
    gc.enable()
    gc.set_threshold(50_000, 20, 20)  # as it is by itself, a seventh of all time goes into looking for cycles
    gc.freeze()  # what is there stays, and need not be looked through again
