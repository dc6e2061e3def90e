#!/bin/sh
# Makes .venv with this package and the extras named, and installs the system packages that this needs; once.
# usage: sh .ci/setup.sh render,inputs   (or: test, which holds every other extra)
set -eu
cd "$(dirname "$0")/.."
extras=$1
here=$(pwd -P)
key=$(cat pyproject.toml constraints.txt | cksum | tr ' ' -)

say() { printf '==> %s\n' "$*"; }
stop() { printf '%s\n' "$*" >&2; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }

quietly() { # speaks only if the command fails
    said=$("$@" </dev/null 2>&1) || { printf '%s\n' "$said" >&2; return 1; }
}

# --- Is all done already? -------------------------------------------------------------------------------------------

installed() { grep -qxF -e "$key $extras" -e "$key test" .venv/installed 2>/dev/null; }
whole() { # .venv was made in this very folder, its Python starts, and its pip is there
    grep -qF "$here/.venv" .venv/bin/activate 2>/dev/null && .venv/bin/python -c 'import pip' 2>/dev/null
}
if installed && whole && .venv/bin/python -c 'import cairo, manimpango' 2>/dev/null; then exit 0; fi

# --- A Python -------------------------------------------------------------------------------------------------------

suits() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
if [ "${PYTHON:-}" ]; then set -- "$PYTHON"; else set -- python3 python3.14 python3.13 python3.12 python3.11; fi
python=
for name in "$@"; do if suits "$name"; then python=$name; break; fi; done
[ "$python" ] || stop "No Python 3.11 or newer (tried $*). Install one, or name it: make demo PYTHON=/path/to/python3"
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')

# --- System packages: pycairo and manimpango are compiled here, against cairo and pango -----------------------------

ask() { "$python" -c "import os, sys, sysconfig; $1" 2>/dev/null; }
compiler() { ask "print((os.environ.get('$1') or sysconfig.get_config_var('$1') or 'cc').split()[0])"; }
lacks() { missing="$missing${missing:+ }$1"; }
find_missing() { # by Debian's names, into $missing
    missing=
    has "$(compiler CC)" || lacks gcc
    has "$(compiler CXX)" || lacks g++
    has pkg-config || lacks pkg-config
    pkg-config --exists cairo 2>/dev/null || lacks libcairo2-dev
    pkg-config --exists pangocairo 2>/dev/null || lacks libpango1.0-dev
    ask 'sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' || lacks "python$version-dev"
    ask 'import ensurepip, venv' || lacks "python$version-venv"
    case $extras in test)
        browser || lacks chromium
        [ "${FIREFOX:-}" ] || has firefox-esr || has firefox || [ -d /Applications/Firefox.app ] || lacks firefox-esr
        has node || lacks nodejs ;;
    esac
}
browser() { # that the player is tested in: the one that CHROMIUM names, or any that is found
    if [ "${CHROMIUM:-}" ]; then return; fi
    for name in chromium chromium-browser google-chrome google-chrome-stable; do if has "$name"; then return; fi; done
    [ -d "/Applications/Google Chrome.app" ] || [ -d /Applications/Chromium.app ]
}

find_missing
if [ "$missing" ]; then
    order="Run this, then make again:"
    chromium='' chrome='' # what the tests need besides, by each package manager's names
    case $missing in *chromium*) chromium=" chromium" chrome=" && brew install --cask google-chrome" ;; esac
    case $missing in *firefox*) chromium="$chromium firefox" chrome="$chrome && brew install --cask firefox" ;; esac
    case $missing in *nodejs*) chromium="$chromium nodejs" chrome="$chrome && brew install node" ;; esac
    rpms="gcc gcc-c++ pkgconf cairo-devel pango-devel python3-devel$chromium"
    if has apt-get; then
        install="apt-get install -y --no-install-recommends $missing"
        if [ "$(id -u)" = 0 ]; then sudo=
        elif has sudo; then sudo=sudo
        else stop "$order su -c '$install'"; fi
        say "system packages: $missing (apt-get)"
        quietly $sudo apt-get update -q || true # one broken source need not stop the others
        # shellcheck disable=SC2086 # words, not one name
        quietly $sudo env DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l $install -q -o DPkg::Lock::Timeout=120 ||
            stop "$order ${sudo:+sudo }$install"
    elif has brew; then
        install="brew install cairo pango pkg-config$chrome"
        say "system packages: cairo pango pkg-config$chromium (brew)"
        quietly env NONINTERACTIVE=1 HOMEBREW_NO_AUTO_UPDATE=1 sh -c "$install" || stop "$order $install"
    elif [ "$(uname)" = Darwin ]; then
        stop "Install Homebrew (https://brew.sh). $order brew install cairo pango pkg-config$chrome"
    elif has dnf; then stop "$order sudo dnf install -y $rpms"
    elif has zypper; then stop "$order sudo zypper install -y $rpms"
    elif has pacman; then stop "$order sudo pacman -S --needed base-devel cairo pango$chromium"
    elif has apk; then stop "$order apk add build-base pkgconf cairo-dev pango-dev python3-dev$chromium"
    else stop "Missing, by Debian's names: $missing. Install them, then make again."; fi

    find_missing
    [ -z "$missing" ] || stop "Still missing for $python: $missing. Install them, or name another Python with PYTHON="
fi

# --- .venv ----------------------------------------------------------------------------------------------------------

if ! whole; then
    if [ -e .venv ]; then say ".venv is broken or was moved: making it anew"; rm -rf .venv; fi
    say ".venv with Python $version ($python)"
    quietly "$python" -m venv .venv || stop "$python could not make .venv"
fi

say "installing flashsteps[$extras] into .venv (the first time takes a minute or more)"
quietly .venv/bin/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[$extras]" ||
    stop "pip could not install flashsteps[$extras]: its last lines above say why"
echo "$key $extras" >.venv/installed
