#!/usr/bin/env bash
# Builds the whole program with HIP and rocBLAS in a Debian 13 root of its own, and runs its tests there.
set -u
root=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
source "$root/setup/lib.sh"
source "$root/setup/debian-root.sh"

readonly suite=trixie
preset=rocm

usage() {
  cat <<USAGE
Usage: scripts/build-rocm.sh [--root FOLDER] [--backends] [CTEST ARGUMENTS...]

Makes a Debian 13 root with debootstrap, once, with HIP, rocBLAS and what else the program is built with; builds the
program in it as the preset $preset, in build/$preset of this tree; and runs the tests there. No GPU is needed: tests
that need one are skipped. Debian 13 also means GCC 14, oneDNN 3, HDF5 1.14 and CMake 3.31.

  --root FOLDER   where the root is kept; mlbench/debian-13 in \${XDG_CACHE_HOME:-~/.cache} unless told. A root that is
                  not complete, or made of other packages than setup/packages*.txt now name, is made anew.
  --backends      builds and runs the tests of the backends alone, as the preset rocm-backends

Other arguments go to ctest: scripts/build-rocm.sh -R Rope
Needs root's rights, debootstrap and, the first time, Debian's archive. As root it only makes and enters the root; it
builds and tests as the owner of this tree.
Exit codes: 0 built and tested, 2 not possible on this machine, 4 the build or a test failed, 130 interrupted.
USAGE
}

parse_arguments() {
  folder=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/mlbench/debian-13
  while :; do
    case ${1-} in
      -h | --help) usage && exit 0 ;;
      --root)
        [[ ${2-} ]] || fail $exit_request '--root lacks its folder'
        folder=$2
        shift 2
        ;;
      --backends)
        preset=rocm-backends
        shift
        ;;
      *) break ;;
    esac
  done
  ctest_arguments=("$@")
}

# What was built in another root came from other headers and compilers.
forget_other_builds() {
  local made_in=$root/build/$preset/.made-in
  [[ -r $made_in && $(<"$made_in") == "$(<"$keep/state")" ]] && return
  rm -rf "${root:?}/build/$preset"
  require_space "$root" $build_gib 'the build'
  "${as_owner[@]}" mkdir -p "$root/build/$preset" && "${as_owner[@]}" tee "$made_in" <"$keep/state" >/dev/null ||
    fail $exit_request "the owner of $root cannot write in its folder build"
}

# As ./test does, in the root.
build_and_test() {
  in_root "${as_owner[@]}" \
    bash -c 'root=$1; source "$root/setup/lib.sh"; prepare "$2" all; run_tests "${@:2}"' - "$root" "$preset" "$@"
}

PATH+=:/usr/sbin:/sbin
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP
parse_arguments "$@"
require_root_tools
ensure_root "$folder"
forget_other_builds
build_and_test "${ctest_arguments[@]}"
code=$?
((code == 0 || code == exit_request)) && exit $code
exit $exit_internal
