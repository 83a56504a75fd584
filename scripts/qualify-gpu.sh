#!/usr/bin/env bash
# Qualifies a device in one go: kernel tests, every architecture and type verified, compute-sanitizer, what the device
# reaches, and how fast it is. All results and logs stand in one folder; started again, it does what is left to do.
set -u

usage() {
  cat <<'USAGE'
Usage: qualify-gpu.sh [--quick] [--backend cuda] [--device cuda:0] [--arch ARCH,...] [--output FOLDER]

  --quick            fewer types, prompts and points: within 8 minutes on a data-centre GPU
  --backend BACKEND  cuda, rocm, or the path of a backend's library
  --device DEVICE    of those that `mlbench list devices` names, the backend's first unless told; host: the kernels run
                     on the processor, and nothing is measured
  --arch ARCH,...    some of llama, orion, olmo, phi, gpt_bigcode; all unless told
  --output FOLDER    where the results go; qualification-DEVICE in the current folder unless told. Steps that passed
                     there with the same program and options are not done again.

MLBENCH=PROGRAM runs another program than the one beside this script.
Exit codes: 0 every step passed, 1 one did not, 2 the request is wrong, 3 the device is not there, 130 interrupted.
USAGE
}

say() { printf 'qualify-gpu: %s\n' "$*" >&2; }

fail() {
  local code=$1
  shift
  say "$*"
  exit "$code"
}

parse_arguments() {
  quick='' device='' backend=cuda arch=llama,orion,olmo,phi,gpt_bigcode output=''
  while (($#)); do
    case $1 in
      --quick) quick=yes && shift && continue ;;
      -h | --help) usage && exit 0 ;;
      --device | --backend | --arch | --output) [[ ${2-} ]] || fail 2 "$1 lacks its value" ;;
      *) fail 2 "knows --quick, --backend, --device, --arch and --output, not $1 (--help)" ;;
    esac
    printf -v "${1#--}" '%s' "$2"
    shift 2
  done
  # Of a library's devices nothing is known yet.
  [[ $device || $backend == */* ]] || device=$backend:0
  IFS=, read -ra archs <<<"$arch"
  [[ $output ]] || output=qualification-$(basename "${device:-$backend}" | tr -c 'A-Za-z0-9_.\n-' -)
}

# The program: MLBENCH, in a bundle beside this script, in a source tree what ./mlbench has built.
find_program() {
  local here
  here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
  mlbench=${MLBENCH-}
  if [[ ! $mlbench ]]; then
    mlbench=$here/mlbench
    [[ -x $mlbench ]] || mlbench=$here/../build/release/cli/mlbench
  fi
  [[ -x $mlbench ]] || fail 2 "there is no program $mlbench: build it (./mlbench --version), or name one: MLBENCH=PROGRAM"
  mlbench=$(readlink -f "$mlbench")
  sweeps=$here/sweeps
  [[ -d $sweeps ]] || sweeps=$here/../bench/sweeps
  # On the host there is the executor's own test of every kernel.
  on_host && kernel_tests=gpu_kernels_test || kernel_tests=${backend##*/}_device_test
  kernel_program=$(find "$(dirname "$mlbench")/tests" "$(dirname "$mlbench")/../tests/backends" -name "$kernel_tests" \
    -type f -perm -u+x -print -quit 2>/dev/null)
  start_program "$here"
}

# A system without the run time of C++ gets the bundle's.
start_program() {
  version=$("$mlbench" --version 2>&1) && return
  if [[ -d $1/lib/gcc ]]; then
    export LD_LIBRARY_PATH=$1/lib/gcc${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    version=$("$mlbench" --version 2>&1) && return
  fi
  fail 2 "$mlbench does not start: $version"
}

# ---- the device

on_host() { [[ $device == host ]]; }

find_device() {
  local devices code=0
  devices=$("$mlbench" list devices --backend "$backend" 2>&1) || code=$?
  printf '%s\n' "$devices" >"$output/devices.txt"
  [[ $device ]] || device=$(awk 'NR == 2 { print $2 }' "$output/devices.txt")
  on_host && return
  awk -v device="$device" '$2 == device { found = 1 } END { exit !found }' "$output/devices.txt" && return
  say "backend $backend has no device $device; mlbench list devices says:"
  sed 's/^/  /' "$output/devices.txt" >&2
  "$mlbench" list backends 2>/dev/null | awk -v name="$backend" 'NR == 1 || $1 == name { print "  " $0 }' >&2
  if [[ $backend == cuda ]]; then
    ls /dev/nvidia[0-9]* >/dev/null 2>&1 || say 'there is no /dev/nvidia0: no NVIDIA GPU, or no driver, or it is not passed into this container'
    command -v nvidia-smi >/dev/null || say 'there is no nvidia-smi, which comes with the driver'
  elif [[ $backend == rocm ]]; then
    ls /dev/kfd /dev/dri/render* >/dev/null 2>&1 || say 'there is no /dev/kfd or no /dev/dri/renderD*: no AMD GPU, or no driver amdgpu, or they are not passed into this container'
  fi
  ((code == 2)) && exit 2
  exit 3
}

describe_machine() {
  {
    printf '%s\n\n' "$version"
    uname -a
    cat "$output/devices.txt"
    ! command -v nvidia-smi >/dev/null || nvidia-smi -q
    [[ $backend != rocm ]] || describe_rocm
  } >"$output/machine.txt" 2>&1
}

# All that it takes to tell what differs from where this was built.
describe_rocm() {
  local command
  for command in 'rocminfo' 'rocm-smi --showallinfo' 'amd-smi version' 'hipconfig --full' 'cat /opt/rocm/.info/version' \
    'ls -l /dev/kfd /dev/dri' 'id' 'env' "ldd $(dirname "$mlbench")/libmlbench_rocm.so" 'modinfo amdgpu'; do
    printf '\n$ %s\n' "$command"
    if ! command -v "${command%% *}" >/dev/null; then
      echo 'not there'
    elif [[ $command == env ]]; then
      env | grep -E '^(HIP|ROC|HSA|AMD|LD_LIBRARY_PATH|GPU_)'
    else
      $command
    fi
  done
  printf '\nPackages of HIP and ROCm\n'
  { dpkg-query --show --showformat='${Package} ${Version}\n' || rpm -qa; } 2>/dev/null | grep -E '^(lib)?(hip|roc|amd|hsa)'
}

# ---- steps

# step NAME FILE COMMAND...: runs it unless it has passed; its log is logs/NAME.log, FILE what is to be read first.
step() {
  local name=$1 file=$2 mark="$output/done/$1" code=0 start=$SECONDS verdict took made_from digest
  shift 2
  digest=$(printf '%s\n' "$version" "$@" | cksum | tr ' ' -)
  if [[ -r $mark ]] && read -r verdict took made_from <"$mark" && [[ $made_from == "$digest" ]]; then
    record "$name" "$verdict" "$took" "$(shown "$name" "$file")" 'done before'
    return
  fi
  say "$name ..."
  printf '%s\n' "$(printf '%q ' "$@")" >"$output/logs/$name.log"
  "$@" </dev/null >>"$output/logs/$name.log" 2>&1 || code=$?
  verdict=$(verdict_of "$code")
  # A step that did not pass is done again the next time.
  if [[ $verdict == passed ]]; then
    printf '%s %s %s\n' "$verdict" $((SECONDS - start)) "$digest" >"$mark"
  else
    rm -f "$mark"
    keep_finding "$name" "$verdict"
  fi
  record "$name" "$verdict" $((SECONDS - start)) "$(shown "$name" "$file")"
}

# What is to be read first of a step that did not pass: where it strayed first, or which tests failed.
keep_finding() {
  {
    printf '==== %s: %s\n' "$1" "$2"
    if [[ $1 == kernels ]]; then
      grep -E -A6 ': Failure$|FAILED  \] [A-Z]' "$output/logs/$1.log" | head -200
    else
      tail -20 "$output/logs/$1.log"
    fi
    printf '\n'
  } >>"$output/findings.txt"
}

# shown NAME FILE: the log where the step has not come as far as to its file.
shown() {
  [[ -e $output/$2 ]] && printf '%s' "$2" || printf 'logs/%s.log' "$1"
}

verdict_of() {
  case $1 in
    0) echo passed ;;
    1) echo FAILED ;;
    3) echo UNSUPPORTED ;;
    124) echo TIMEOUT ;;
    *) echo "BROKEN($1)" ;;
  esac
}

# record NAME VERDICT SECONDS FILE [NOTE]
record() {
  rows+=("$(printf '%-28s %-12s %6s s  %s' "$1" "$2" "$3" "$4")")
  html+="<tr class=\"${2%%(*}\"><td>$1<td>$2<td>$3<td><a href=\"$4\">$4</a>"$'\n'
  [[ $2 == passed || $2 == skipped ]] || failures=$((failures + 1))
  counts[$2]=$((${counts[$2]-0} + 1))
  say "$(printf '%-28s %s' "$1" "$2")${5:+ ($5)}"
}

# skip NAME WHY
skip() {
  printf '%s\n' "$2" >"$output/logs/$1.log"
  record "$1" skipped 0 "logs/$1.log" "$2"
}

types() {
  if [[ $quick ]]; then
    echo f32 bf16
  else
    echo f32 bf16 f16
  fi
}

verify_steps() {
  local arch type name plan=()
  [[ $quick ]] || on_host || plan=(--full)
  for arch in "${archs[@]}"; do
    for type in $(types); do
      name=verify-$arch-$type
      step "$name" "$name.html" "$mlbench" verify --arch "$arch" --backend "$backend" --device "$device" --dtype "$type" "${plan[@]}" \
        --json "$output/$name.json" --junit "$output/$name.xml" --html "$output/$name.html" --save-failing "$output/failing/$name"
    done
  done
}

kernel_step() {
  if [[ ! $kernel_program ]]; then
    skip kernels "no program $kernel_tests: this build was made without the vendor's toolkit, or without tests"
  else
    step kernels kernels.xml "$kernel_program" --gtest_output="xml:$output/kernels.xml"
  fi
}

# Under the sanitizer everything is some 50 times slower: the small presets, in the everyday run alone. Its exit code is
# 1 where it finds something, and the program's otherwise.
sanitizer_steps() {
  if [[ $backend == rocm ]]; then
    skip sanitizer 'ROCm has nothing like compute-sanitizer'
    return
  fi
  local sanitizer tool arch tools=(memcheck racecheck synccheck initcheck) some=("${archs[@]}")
  sanitizer=$(command -v compute-sanitizer || command -v /usr/local/cuda/bin/compute-sanitizer)
  if [[ ! $sanitizer ]]; then
    skip sanitizer 'there is no compute-sanitizer on PATH or in /usr/local/cuda/bin (it comes with the CUDA toolkit)'
    return
  fi
  [[ ! $quick ]] || { tools=(memcheck) && some=(llama); }
  for tool in "${tools[@]}"; do
    for arch in "${some[@]}"; do
      step "$tool-$arch" "$tool-$arch.xml" "$sanitizer" --tool "$tool" --target-processes all --error-exitcode 1 \
        "$mlbench" verify --arch "$arch" --backend "$backend" --device "$device" --dtype f32 --mode chained --inputs random \
        --time-limit 0 --json "$output/$tool-$arch.json" --junit "$output/$tool-$arch.xml"
    done
  done
}

bench_step() {
  local name=$1
  shift
  step "$name" "$name.md" measure "$output/$name.json" bench "$@" --backend "$backend" --device "$device" \
    --md "$output/$name.md" --csv "$output/$name.csv" --junit "$output/$name.xml"
}

# measure RESULT ARGUMENTS...: what an interrupted run has measured is taken over; where that cannot be, from the beginning.
measure() {
  local result=$1 code=0
  shift
  if grep -qs '"interrupted": true' "$result" && cp "$result" "$result.before"; then
    "$mlbench" "$@" --json "$result" --resume "$result.before" || code=$?
    ((code == 2)) || return $code
  fi
  "$mlbench" "$@" --json "$result"
}

measuring_steps() {
  local seconds=() bench=(--dtype f32,bf16,f16)
  if [[ $quick ]]; then
    seconds=(--seconds 0.3)
    # 40 points, at most 3 s of warm-up and 1 s each.
    bench=(--dtype f32,bf16 --prompt 128 --max-time 1)
  fi
  step probe probe.json "$mlbench" probe --backend "$backend" --device "$device" "${seconds[@]}" --json "$output/probe.json"
  bench_step bench --sweep "$sweeps/standard.json" "${bench[@]}"
}

# ---- the end

print_table() {
  local verdict summary=''
  for verdict in "${!counts[@]}"; do
    summary+="${counts[$verdict]} $verdict, "
  done
  summary="${summary%, }: backend $backend, device $device${quick:+, quick}"
  {
    printf '%-28s %-12s %8s  %s\n' step verdict time file
    printf '%s\n' "${rows[@]}" '' "$summary"
  } | tee "$output/summary.txt"
  cat >"$output/index.html" <<PAGE
<!doctype html><meta charset="utf-8"><title>Qualification: $backend, $device</title>
<style>body{font:16px sans-serif;margin:2em}td,th{padding:.2em 1em;text-align:left}.passed{background:#dfd}.skipped{background:#eee}tr{background:#fdd}</style>
<h1>Qualification of $device</h1><p>$summary (<a href="machine.txt">machine</a>, <a href="findings.txt">findings</a>)
<table><tr><th>step<th>verdict<th>seconds<th>file
$html</table>
PAGE
}

parse_arguments "$@"
find_program
mkdir -p "$output"/{done,logs} || fail 2 "cannot write in $output"
output=$(readlink -f "$output")
find_device
describe_machine
: >"$output/findings.txt"

declare -A counts=()
rows=() html='' failures=0
trap 'say "interrupted; the same command goes on where this one was"; exit 130' INT TERM
kernel_step
verify_steps
if on_host; then
  skip measuring 'the host executor says nothing of how fast a device is'
else
  sanitizer_steps
  measuring_steps
fi
print_table
((failures == 0))
