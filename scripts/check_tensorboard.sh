#!/bin/sh
# Reads what a daemon wrote for TensorBoard with TensorBoard itself: scripts/check_tensorboard.sh FOLDER [--updates N]
# Installs tensorboard into target/tensorboard (or uses the interpreter in PYTHON, which must have it).
set -eu
cd "$(dirname "$0")/.."
if [ -z "${PYTHON:-}" ]; then
    PYTHON=target/tensorboard/bin/python
    if [ ! -x "$PYTHON" ]; then
        python3 -m venv target/tensorboard
        target/tensorboard/bin/pip install --quiet 'tensorboard==2.21.*' 'setuptools<81'
    fi
fi
exec "$PYTHON" scripts/check_tensorboard.py "$@"
