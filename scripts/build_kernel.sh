#!/usr/bin/env bash
# Build the page's WebAssembly kernel from its source: scripts/build_kernel.sh [OUTPUT]
# Needs wat2wasm (Debian: apt-get install wabt). The same source gives the same bytes; a test compares them.
set -euo pipefail
pages="$(cd "$(dirname "$0")/../src/unrolled/pages" && pwd)"
wat2wasm "$pages/kernel.wat" --output "${1:-$pages/kernel.wasm}"
