# Sourced by ./mlbench, ./test and scripts/*, with root (the tree's top) set: makes sure that what the build needs is
# installed, configures and builds. Talks on stderr, reads nothing from stdin, and leaves the current directory alone.
# Exit codes are the program's own: 2 the machine cannot be set up from here, 4 our build is broken.

readonly exit_request=2 exit_internal=4

say() { printf 'mlbench: %s\n' "$*" >&2; }

fail() {
  local code=$1
  shift
  say "$*"
  exit "$code"
}

# quietly LOG COMMAND...: what the command says goes to the file, and to stderr too when the command fails.
quietly() {
  local log=$1
  shift
  "$@" </dev/null >"$log" 2>&1 9>&- && return
  cat "$log" >&2
  return 1
}

# One set-up at a time in a tree. The file is open as 9 while we hold the lock; children that could outlive us get it closed.
lock() {
  mkdir -p "$root/build" 2>/dev/null && { exec 9>"$root/build/.lock"; } 2>/dev/null ||
    fail $exit_request "cannot write in $root/build, where the program is built: run as the owner of the tree, or clone it anew"
  flock --nonblock 9 || { say 'waiting for another build in this tree' && flock 9; }
}

unlock() { exec 9>&-; }

# ---- packages

# missing_packages FILE: names the packages of the list of which no alternative is installed.
missing_packages() {
  local -A installed=()
  local package status line words
  words=$(sed 's/#.*//; s/|/ /g' "$1")
  while read -r package status; do
    [[ $status == installed ]] && installed[$package]=1
  done < <(dpkg-query --show --showformat='${Package} ${db:Status-Status}\n' $words 2>/dev/null)
  while read -r line; do
    for package in ${line//|/ }; do
      [[ ${installed[$package]-} ]] && continue 2
    done
    [[ $line ]] && printf '%s\n' "${line%% *}"
  done < <(sed 's/#.*//' "$1")
}

# Sets as_root to what a command needs before it to run as root; fails where there is no way.
find_root_rights() {
  as_root=()
  ((EUID == 0)) && return
  command -v sudo >/dev/null || return 1
  as_root=(sudo)
  sudo --non-interactive true 2>/dev/null 9>&- && return
  [[ -t 2 ]] && say 'installing needs root: sudo may ask for your password' && sudo --validate 9>&-
}

apt_get() {
  quietly "$root/build/apt.log" "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive LC_ALL=C \
    apt-get --quiet --option DPkg::Lock::Timeout=600 "$@"
}

# Package lists may be absent or older than the mirror: they are fetched when the installation fails without.
install_packages() {
  local install=(install --yes --no-install-recommends "$@")
  apt_get "${install[@]}" 2>/dev/null && return
  say 'fetching the package lists (apt-get update)'
  apt_get update && apt_get "${install[@]}"
}

# ensure_packages FILE: installs what is missing of the list, or says what somebody with the rights has to run.
ensure_packages() {
  if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    without_apt "$1"
    return
  fi
  local missing
  missing=$(missing_packages "$1")
  [[ $missing ]] || return 0
  missing=${missing//$'\n'/ }
  if ! find_root_rights; then
    say "these Debian packages are missing: $missing"
    say 'this user cannot install them; run this, then try again:'
    local update='apt-get update' install="apt-get install --yes --no-install-recommends $missing" command
    if command -v sudo >/dev/null; then
      command="sudo $update && sudo $install"
    else
      command="su -c '$update && $install'"
    fi
    printf '  %s\n' "$command" >&2
    exit $exit_request
  fi
  say "installing the Debian packages that are missing: $missing"
  install_packages $missing || fail $exit_request "apt-get could not install them (above, and in $root/build/apt.log)"
}

without_apt() {
  local tool
  say "no apt here: what these Debian packages hold must be there by other means: $(sed 's/#.*//; s/ *|.*//' "$1" | xargs)"
  for tool in g++ cmake ninja pkg-config; do
    command -v "$tool" >/dev/null || fail $exit_request "$tool is not there"
  done
}

# ---- build

# What a build folder is configured from, beside the CMake files that ninja itself watches. A folder made from anything
# else, a tree that was moved for example, is configured afresh.
configuration() {
  printf '%s\n' "$root" "$(command -v ccache)" "$(<"$root/CMakePresets.json")"
}

is_configured() {
  local made_from="$root/build/$1/.made-from"
  [[ -e $root/build/$1/build.ninja && -r $made_from && $(<"$made_from") == "$(configuration)" ]]
}

# up_to_date PRESET TARGET: nothing to do. Ninja knows every source, header and library that the target came from, and
# looks without writing, so this needs neither the lock nor the right to write.
up_to_date() {
  is_configured "$1" && [[ $(ninja -C "$root/build/$1" -n "$2" 2>/dev/null </dev/null) == *'ninja: no work to do.' ]]
}

configure() {
  local preset=$1 launcher
  is_configured "$preset" && return
  mkdir -p "$root/build/$preset"
  launcher=$(command -v ccache)
  (
    cd "$root" &&
      quietly "build/$preset/configure.log" cmake --preset "$preset" --fresh -DCMAKE_EXPORT_COMPILE_COMMANDS=ON \
        -DCMAKE_CXX_COMPILER_LAUNCHER="$launcher"
  ) || fail $exit_internal "cmake could not configure the build (above, and in $root/build/$preset/configure.log)"
  configuration >"$root/build/$preset/.made-from"
}

# build PRESET TARGET...: progress on a terminal, silence in a pipe, and the compiler's words when it fails.
build() {
  local preset=$1 command
  shift
  command=(ninja -C "$root/build/$preset" "$@")
  if [[ -t 2 ]]; then
    NINJA_STATUS='mlbench: building %f/%t ' "${command[@]}" </dev/null >&2 9>&-
  else
    quietly "$root/build/$preset/build.log" "${command[@]}" --quiet
  fi || fail $exit_internal "the build failed (above): build/$preset in $root"
}

# prepare PRESET TARGET...: packages, configuration, build; one at a time.
prepare() {
  # Ninja ends an interrupted build with an ordinary exit: without this, ours would look like a broken build.
  trap 'exit 130' INT
  lock
  ensure_packages "$root/setup/packages.txt"
  configure "$1"
  build "$@"
  unlock
  trap - INT
}

# ---- tests

# run_tests PRESET ARGS...: what ctest says and its exit code. Its closing lines come last, behind the lists of failed and
# skipped tests that ctest itself prints below them.
run_tests() {
  local preset=$1
  shift
  cd "$root" || exit $exit_internal
  ctest --preset "$preset" --parallel "$(nproc)" "$@" 2>&1 | closing_lines_last
  return "${PIPESTATUS[0]}"
}

closing_lines_last() {
  local line closing=()
  while IFS= read -r line; do
    case $line in
      [0-9]*'% tests passed, '* | 'Total Test time '*) closing+=("$line") ;;
      *) printf '%s\n' "$line" ;;
    esac
  done
  printf '%s\n' "${closing[@]}"
}
