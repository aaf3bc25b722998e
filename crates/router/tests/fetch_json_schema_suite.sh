#!/bin/sh
# Fetches the JSON Schema test suite out of the source package of Python's jsonschema, for `cargo test`.
# Usage: fetch_json_schema_suite.sh [folder]
set -eu
folder="${1:-${TIDEMARK_JSON_SCHEMA_SUITE:-$HOME/.cache/tidemark/json-schema-suite}}"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet hatchling hatch-vcs hatch-fancy-pypi-readme
"$work/venv/bin/pip" download --quiet --no-deps --no-binary jsonschema --no-build-isolation --dest "$work" jsonschema==4.26.0
mkdir -p "$folder"
tar -xzf "$work/jsonschema-4.26.0.tar.gz" -C "$folder" --strip-components=2 jsonschema-4.26.0/json
echo "JSON Schema test suite in $folder"
