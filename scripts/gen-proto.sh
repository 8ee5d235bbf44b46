#!/bin/sh
# Generates src/api/gen from proto/. The result is committed, so that neither buf nor protoc is needed to run or test.
set -eu
cd "$(dirname "$0")/.."
rm -rf src/api/gen
npx --yes @bufbuild/buf@1.75.0 generate
