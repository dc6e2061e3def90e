# Set-up is in .ci/setup.sh, what is installed in pyproject.toml and constraints.txt.
#
#   SECONDS=600                        how long `make fuzz` looks
#   RESULTS=folder                     where `make bench-gpu` leaves what it found
#   PYTHON=python3.12                  which Python a new .venv is made from; else the first found that is 3.11 or newer
#
# The tests need torch 2.13. On Linux pip's default is its CUDA build, of several GB: to save them, point pip at an index
# of CPU builds (PIP_EXTRA_INDEX_URL=...). `make demo` needs no torch.

SECONDS := 60
RESULTS := results
FILMS := renders/flash-forward.gif renders/flash-forward-short.mp4

# Python keeps what it compiled, or each of the programs that tests begin would compile the whole package anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help demo gallery test fuzz lint bench bench-gpu clean
.NOTPARALLEL:

help:  ## say what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s%s\n", $$1, $$2 }' Makefile

demo:  ## install what is missing, then render a real attention head to renders/ as GIF and MP4
	@sh .ci/setup.sh render,inputs
	@mkdir -p renders
	@for film in $(FILMS); do \
	  case $$film in *-short.*) cut=short ;; *) cut=full ;; esac; \
	  echo "==> rendering $$film"; .venv/bin/flashsteps render flash-forward -o $$film --cut $$cut || exit; \
	done
	@echo "==> done" && ls -lh $(FILMS) | awk '{ printf "%8s  %s\n", $$5, $$NF }'

gallery:  ## make what is out of date in renders/: films, then the pictures that its README.md has commands for
	@sh .ci/setup.sh test
	@.venv/bin/flashsteps gallery renders
	@sed -nE '/end of gallery/,$$ s/^    (flashsteps|python) /.venv\/bin\/\1 /p' renders/README.md | while read -r line; do \
	  echo "==> $$line"; sh -c "$$line" </dev/null || exit; \
	done

test:  ## install what is missing, test tools too (with torch), then run all tests
	@sh .ci/setup.sh test
	@.venv/bin/python -m pytest -n $$(($$(getconf _NPROCESSORS_ONLN) + 2)) --dist worksteal  # some only wait

fuzz:  ## look for examples that break a property, at random, for so long: make fuzz SECONDS=600
	@sh .ci/setup.sh test
	@.venv/bin/python tests/fuzz.py $(SECONDS)

lint:  ## ruff, mypy and the order of the rooms, as CI runs them
	@sh .ci/setup.sh test
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-cache --no-logo

bench:  ## measure films, recording and what a call of a kernel costs the host (attention itself: flashsteps bench)
	@sh .ci/setup.sh test
	@.venv/bin/python tests/bench.py

bench-gpu:  ## on a GPU, in 8 minutes: check, tune and measure the kernels, train with them; all in one tar in RESULTS
	@sh .ci/bench-gpu.sh $(RESULTS)

clean:  ## remove .venv and what tools leave behind; the films stay
	rm -rf .venv build dist media *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find flashsteps kernels scenes tests -name __pycache__ -type d -prune -exec rm -rf {} +
