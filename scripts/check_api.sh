#!/bin/sh
# Sends a running daemon requests made from its own /openapi.json, right ones and wrong ones, and reports each reply that
# is a 5xx or not as the document says: scripts/check_api.sh [ADDRESS] [MORE OPTIONS]
# It rates and asks at random: give it a daemon with a data directory of its own. Installs schemathesis into
# target/schemathesis (or uses the program in SCHEMATHESIS). UNDERSTUDY_TOKEN is sent where it is set. The document is taken
# from the file UNDERSTUDY_OPENAPI where that is set: for a daemon that shows it to nobody without a token.
set -eu
cd "$(dirname "$0")/.."
address=${1:-http://127.0.0.1:8477}
[ $# -eq 0 ] || shift
if [ -z "${SCHEMATHESIS:-}" ]; then
    SCHEMATHESIS=target/schemathesis/bin/schemathesis
    if [ ! -x "$SCHEMATHESIS" ]; then
        python3 -m venv target/schemathesis
        target/schemathesis/bin/pip install --quiet 'schemathesis==4.32.5'
    fi
fi
[ -z "${UNDERSTUDY_TOKEN:-}" ] || set -- --header "Authorization:Bearer $UNDERSTUDY_TOKEN" "$@"
checks=not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance
checks=$checks,response_headers_conformance,unsupported_method,allow_header_conformance
# /v1/events never ends; a right rating of an answer that is not there is 404.
exec "$SCHEMATHESIS" run "${UNDERSTUDY_OPENAPI:-$address/openapi.json}" --url "$address" --checks "$checks" --exclude-path /v1/events --continue-on-failure \
    --max-examples 40 --seed 7 --request-timeout 60 --warnings off "$@"
