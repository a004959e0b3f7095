#!/bin/sh
# Debian keeps venv in a package of its own; with root's rights it is installed, else this says what to do.
set -e
python=$1
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing python3-venv ..."
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null
    rm -rf .venv
    "$python" -m venv .venv
else
    echo "python3 cannot make virtual environments here: install the package python3-venv and try again." >&2
    exit 1
fi
