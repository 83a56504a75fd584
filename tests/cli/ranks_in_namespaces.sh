#!/usr/bin/env bash
# usage: ranks_in_namespaces.sh PROGRAM CHECKPOINT
# Three ranks, each in a network namespace with a host name of its own, as on three machines: one verification over a
# bridge between them; and one of a checkpoint that the third does not see. Exits with 77, for ctest's skipping, where there is no right to make namespaces or no Open MPI.
set -u
program=$1 checkpoint=$2
id=mlb$$
skip() {
  printf 'skipped: %s\n' "$*"
  exit 77
}

((EUID == 0)) || skip 'network namespaces need root'
command -v ip >/dev/null || skip 'there is no ip: apt install iproute2'
mpirun --version 2>/dev/null | grep -q 'Open MPI' || skip 'there is no mpirun of Open MPI'
[[ -x ${program}-rank ]] || skip 'the program was built without MPI'

folder=$(mktemp -d)
clean_up() {
  local n
  for n in 1 2 3; do
    ip netns pids "$id-$n" 2>/dev/null | xargs --no-run-if-empty kill -KILL 2>/dev/null
    ip netns del "$id-$n" 2>/dev/null
  done
  ip netns del "$id-0" 2>/dev/null
  rm -rf "$folder"
}
trap clean_up EXIT

# A bridge in a namespace of its own; this machine's network stays as it is.
ip netns add "$id-0" 2>/dev/null || skip 'network namespaces are not allowed here'
ip -n "$id-0" link add bridge type bridge 2>/dev/null || skip 'bridges are not allowed here'
ip -n "$id-0" link set bridge up
for n in 1 2 3; do
  ip netns add "$id-$n" && ip -n "$id-0" link add "port$n" type veth peer name eth0 netns "$id-$n" || skip 'no pair of virtual interfaces'
  ip -n "$id-0" link set "port$n" master bridge up
  ip -n "$id-$n" addr add "10.77.0.$n/24" dev eth0
  ip -n "$id-$n" link set eth0 up
  ip -n "$id-$n" link set lo up
done

# What mpirun starts its daemons with in the place of ssh: the "host" is an address, and its namespace has its number.
cat >"$folder/agent" <<AGENT
#!/usr/bin/env bash
host=\$1
shift
hide=true
[[ \$host == *.3 ]] && hide="mount -t tmpfs none '$checkpoint'"
exec ip netns exec "$id-\${host##*.}" unshare --uts --mount sh -c "\$hide && hostname node\${host##*.}"'; exec sh -c "\$1"' _ "\$*"
AGENT
chmod +x "$folder/agent"

export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
# verify_on HOSTS COUNT ARGUMENTS...: what is said goes to the file "out"; fails where it is not passed.
verify_on() {
  local code hosts=$1 count=$2
  shift 2
  ip netns exec "$id-1" unshare --uts sh -c 'hostname node1; exec "$@"' _ \
    timeout 300 mpirun --host "$hosts" -n "$count" --mca plm_rsh_agent "$folder/agent" --mca plm_rsh_no_tree_spawn 1 \
    --mca oob_tcp_if_include eth0 --mca btl_tcp_if_include eth0 --mca btl tcp,self --mca hwloc_base_binding_policy none \
    "$program" verify --backend cpu "$@" --inputs random --quick --color never >"$folder/out" 2>&1
  code=$?
  cat "$folder/out"
  return $code
}
verify_on 10.77.0.1,10.77.0.2,10.77.0.3 3 --arch olmo --set num_hidden_layers=3 --pp 3 &&
  grep -q 'tp 1, pp 3 (3 micro-batches) on 3 ranks of node1, node2, node3' "$folder/out" &&
  verify_on 10.77.0.1,10.77.0.3 2 --model "$checkpoint" --pp 2 --json "$folder/result.json" &&
  grep -q 'on 2 ranks of node1, node3' "$folder/out" &&
  grep -q '"mapped": 1' "$folder/result.json"
