#!/usr/bin/env bash
# Fetches axe-core (MPL-2.0), with which the browser tests check that the page can be used by all, into .cache/axe/.
set -euo pipefail
cd "$(dirname "$0")/.."
version=4.14.1
[ -s .cache/axe/axe.min.js ] && exit 0
command -v npm >/dev/null || { echo "axe.sh: npm is not installed; install Debian's nodejs and npm" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$work" && npm pack --silent "axe-core@$version" >/dev/null && tar xzf "axe-core-$version.tgz")
mkdir -p .cache/axe
cp "$work/package/axe.min.js" "$work/package/LICENSE" .cache/axe/
echo "axe.sh: axe-core $version is in .cache/axe/"
