#!/bin/sh
# Asks a running daemon all that OpenAI's Python client can ask: scripts/check_openai.sh [ADDRESS]
# Installs the client into target/openai (or uses the interpreter in PYTHON, which must have it).
set -eu
cd "$(dirname "$0")/.."
if [ -z "${PYTHON:-}" ]; then
    PYTHON=target/openai/bin/python
    if [ ! -x "$PYTHON" ]; then
        python3 -m venv target/openai
        target/openai/bin/pip install --quiet 'openai>=2'
    fi
fi
exec "$PYTHON" scripts/check_openai.py "${1:-http://127.0.0.1:8477}"
