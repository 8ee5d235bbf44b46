#!/bin/sh
# npm test. Without an argument: types, lint, unit tests, end-to-end test. With check | unit [FILE...] | e2e: that part.
# interop [FILE...]: against programs that others wrote, from KUBEBUILDER_ASSETS (etcd, kube-apiserver) and ISTIOD_BIN; what
# is not there is skipped.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
. scripts/bootstrap.sh
bootstrap_node "$root"
export NODE_NO_WARNINGS=1

check() {
  "$ISTHMUS_NODE" node_modules/.bin/tsc -p .
  "$ISTHMUS_NODE" node_modules/.bin/eslint --cache --cache-location node_modules/.cache/eslint --max-warnings 0 .
  "$ISTHMUS_NODE" node_modules/.bin/prettier --cache --log-level warn --check .
}

# Tests run in network, mount and PID namespaces of their own (without root in a user namespace too): what they
# make is gone with them, and nothing of the machine is touched.
unit() {
  if [ $# -eq 0 ]; then set -- $(find src test -name '*.test.ts' -not -path 'test/e2e/*' -not -path 'test/interop/*' | sort); fi
  unshared --test-concurrency=2 "$@"
}

# What runs on the lab's API server runs here on a real one, too.
interop() {
  if [ $# -eq 0 ]; then
    set -- $(find test/interop -name '*.test.ts' | sort)
    if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
      set -- "$@" $(find test/istiod test/peering -name '*.test.ts' | sort) test/chart.test.ts test/kube.test.ts test/credential-plugins.test.ts test/install.test.ts
    else
      echo "skipped on a real API server: the tests of istiod, peering, kube, chart and install (KUBEBUILDER_ASSETS is not set)"
    fi
  fi
  ISTHMUS_TEST_API_SERVER=${KUBEBUILDER_ASSETS:+real} unshared --test-concurrency=1 "$@"
}

unshared() {
  bootstrap_system
  user=
  if [ "$(id -u)" != 0 ]; then user='--user --map-root-user'; fi
  # A short name: socket paths below it may have 107 bytes.
  TMPDIR=$(mktemp -d /tmp/iXXXX)
  export TMPDIR
  trap 'rm -rf "$TMPDIR"' EXIT
  # shellcheck disable=SC2086
  unshare $user --mount --net --pid --fork --kill-child --mount-proc sh -euc '
    mount -t tmpfs tmpfs /run
    mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts /dev/pts
    ip link set lo up
    exec "$@"' sh "$ISTHMUS_NODE" --test --test-reporter=spec "$@"
}

e2e() { bootstrap_system; "$ISTHMUS_NODE" --test --test-concurrency=1 --test-reporter=spec "$@" $(find test/e2e -name '*.test.ts' | sort); }

case ${1:-all} in
  check) check ;;
  unit) shift; unit "$@" ;;
  interop) shift; interop "$@" ;;
  e2e) shift; e2e "$@" ;;
  all) check; (unit); e2e ;;
  *) echo "usage: scripts/test.sh [check | unit [FILE...] | interop [FILE...] | e2e]" >&2; exit 2 ;;
esac
