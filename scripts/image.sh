#!/bin/sh
# npm run image: writes dist/isthmus-image.tar (docs/image.md). With --rootfs DIR: the layers as folders, for the Dockerfile.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/scripts/bootstrap.sh"
bootstrap_node "$root"
bootstrap_system
if [ ! -e /etc/ca-certificates.conf ] && [ "$(id -u)" = 0 ]; then apt_install ca-certificates || true; fi
export NODE_NO_WARNINGS=1
exec "$ISTHMUS_NODE" "$root/scripts/image/main.ts" "$@"
