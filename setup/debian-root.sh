# Sourced by scripts/build-rocm.sh behind lib.sh: a Debian root of our own, and commands in it. $keep is the folder:
#   $keep/system   the root
#   $keep/state    "making", and when all of it is there "complete", of what it was made, and which one it is
#   $keep/log      what debootstrap and apt-get said
#   $keep/ccache-*   compiler caches, for owners of a tree where the caller has none
# All mounts are in a namespace of the command that needs them, and its processes in another: both are gone when the
# command ends, or when this shell does, be it killed. Nobody else ever sees them, and nothing has to be cleared away.

readonly debian_archive=https://deb.debian.org/debian
readonly root_gib=4 build_gib=1

# contained COMMAND...: in namespaces of our own. In the background, so that a signal to this shell is heeded at once.
contained() {
  setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child -- "$@" &
  wait $!
}

# in_root COMMAND...: in the root, where the tree stands at its own path and is the current folder.
in_root() {
  contained bash -c "$enter" - "$system" "$root" "$(compiler_cache)" \
    env -i --default-signal=INT,QUIT PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LC_ALL=C.UTF-8 TERM="${TERM-dumb}" \
    CCACHE_DIR=/ccache ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} "$@"
}

# pivot_root rather than chroot: in a chroot nobody may make namespaces, as tests do.
readonly enter='
  set -e
  system=$1 tree=$2 cache=$3
  shift 3
  with_tree() {
    [[ -d $1 ]] || return 0
    mkdir -p "$system$1"
    mount --bind "$1" "$system$1"
  }
  mount --bind "$system" "$system"
  mount -t proc proc "$system/proc"
  mount --rbind /sys "$system/sys"
  mount --rbind /dev "$system/dev"
  find "$system/tmp" -mindepth 1 -xdev -delete
  with_tree "$tree"
  with_tree "$(dirname "$tree")/shared/oracle"
  mkdir -p "$system/ccache"
  mount --bind "$cache" "$system/ccache"
  cd "$system"
  pivot_root . mnt
  umount --lazy /mnt
  cd "$tree"
  exec "$@"'

# The caller's own compiler cache, where there is one that the owner of the tree may write.
compiler_cache() {
  local folder=${CCACHE_DIR-}
  [[ $folder ]] || folder=$(ccache --get-config cache_dir 2>/dev/null)
  if [[ ! -d $folder || $(stat --format=%u "$folder") != "${owner%:*}" ]]; then
    folder=$keep/ccache-${owner%:*}
    mkdir -p "$folder" && chown "$owner" "$folder"
  fi
  printf '%s\n' "$folder"
}

# ---- whether it can be

require_root_tools() {
  ((EUID == 0)) || fail $exit_request 'a Debian root is made and entered by root alone: sudo scripts/build-rocm.sh'
  contained true 2>/dev/null ||
    fail $exit_request 'this machine does not let us mount (unshare --mount --pid): a container without privileges?'
}

require_debootstrap() {
  command -v debootstrap >/dev/null ||
    fail $exit_request 'debootstrap is not there to make the Debian root with: apt-get install debootstrap'
}

# require_space FOLDER GIB WHAT
require_space() {
  local free
  free=$(df --output=avail --block-size=1M "$1" | tail -1)
  ((free >= $2 * 1024)) || fail $exit_request "$3 needs $2 GiB, and there are $((free / 1024)) free in $1"
}

# ---- making it

# What a root is made of; one that was made of anything else is made anew.
recipe() {
  { printf '%s\n' "$suite" "$slim" && packages; } | sha256sum | cut -c 1-16
}

packages() { sed -n 's/#.*//; s/ *|.*//; /./p' "$root/setup/packages.txt" "$root/setup/packages-rocm.txt"; }

is_complete() { [[ -r $keep/state && $(<"$keep/state") == "complete $(recipe) "* ]]; }

# The kernels of rocBLAS, 1.8 GB, are for running it. There is no need to wait for the disk after each file: a root that
# is half made when the power fails is made anew.
readonly slim='path-exclude=/usr/lib/*/rocblas/*
path-exclude=/usr/share/doc/*
path-exclude=/usr/share/man/*
path-exclude=/usr/share/locale/*
force-unsafe-io'

remove_system() {
  local target
  [[ ! -e $system || -e $keep/state ]] ||
    fail $exit_request "$system was not made by this script: name another folder with --root"
  while read -r _ _ _ _ target _; do
    printf -v target '%b' "$target"
    [[ $target/ != "$system/"* ]] ||
      fail $exit_request "$target is mounted in a root that is to be made anew: unmount it"
  done </proc/self/mountinfo
  rm -rf --one-file-system "$system" || fail $exit_request "cannot remove $system"
}

last_words() { { grep '^E: ' "$keep/log" || cat "$keep/log"; } | tail -1; }

# Of the archives that apt is configured with, Debian's own; the suite is another one's.
configured_archive() { apt-get indextargets --format '$(SITE)' 2>/dev/null | grep --max-count=1 '/debian/\?$'; }

bootstrap() {
  local archive
  for archive in $(configured_archive) "$debian_archive"; do
    remove_system
    LC_ALL=C contained debootstrap --variant=minbase --include=ca-certificates --force-check-gpg \
      "$suite" "$system" "$archive" >>"$keep/log" 2>&1 && return
  done
  fail $exit_request "debootstrap could not make the root: $(last_words) (all of it in $keep/log)"
}

# As this machine reaches the archive, so does the root.
configure_apt() {
  printf '%s\n' "$slim" >"$system/etc/dpkg/dpkg.cfg.d/mlbench"
  {
    apt-config dump 2>/dev/null | grep -E '^Acquire::(https?::Proxy|Check-)'
    printf '%s\n' 'APT::Install-Recommends "false";' 'Acquire::Languages "none";' 'Acquire::Retries "3";'
  } >"$system/etc/apt/apt.conf.d/mlbench"
}

apt_in_root() {
  in_root env DEBIAN_FRONTEND=noninteractive LC_ALL=C apt-get --quiet "$@" >>"$keep/log" 2>&1
}

install_in_root() {
  apt_in_root update && apt_in_root install --yes $(packages) && apt_in_root clean ||
    fail $exit_request "apt-get could not install what the root needs: $(last_words) (all of it in $keep/log)"
}

make_root() {
  require_debootstrap
  require_space "$keep" $root_gib 'a Debian root'
  remove_system
  say "making a Debian root ($suite) in $keep: about 700 MB are fetched"
  : >"$keep/log"
  printf 'making\n' >"$keep/state" || fail $exit_request "cannot write in $keep"
  bootstrap
  configure_apt
  install_in_root
  printf 'complete %s %s\n' "$(recipe)" "$(date +%s.%N)" >"$keep/state"
}

# ensure_root FOLDER: it is there and complete; one at a time.
ensure_root() {
  mkdir -p "$1" 2>/dev/null || fail $exit_request "cannot make the folder $1"
  keep=$(readlink -f "$1")
  system=$keep/system
  # What a command needs before it to run as whoever the tree belongs to, who wants to build in it later, too.
  owner=$(stat --format=%u:%g "$root")
  as_owner=(setpriv --reuid="${owner%:*}" --regid="${owner#*:}" --clear-groups)
  { exec 8>"$keep/lock"; } 2>/dev/null || fail $exit_request "cannot write in $keep"
  flock --nonblock 8 || { say "waiting for another build in $keep" && flock 8; }
  is_complete || make_root
}
