# Settings and helpers that the lab's scripts share; sourced, not run.
HOST_KUBE=${HOST_KUBE:-}         # the host's version of Kubernetes; that of mod/kube if empty
LAB_DIR=${LAB_DIR:-${TMPDIR:-/tmp}/lab${HOST_KUBE:+-$HOST_KUBE}}
LAB_NET=${LAB_NET:-10.200.0}     # /24 of the nodes; .1 is this machine, .11 node1, .12 node2
POD_NET=${POD_NET:-10.244}       # /16 of the pods; nodeN has POD_NET.N.0/24
SVC_NET=${SVC_NET:-10.96}        # /16 of the services; .0.1 is the API server, .0.10 DNS
BIN=$LAB_DIR/bin
RUN=$LAB_DIR/run                 # made by up, removed by down
LOG=$LAB_DIR/log                 # kept after down, overwritten by the next up
CG=/sys/fs/cgroup
export PATH="$BIN:$PATH"

die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# require names everything that is missing for the lab, then ends.
require() {
	local missing=()
	[ "$(id -u)" = 0 ] || missing+=("root: nodes are made of namespaces, cgroups and mounts")
	for c in go gcc git python3 awk sed tar unshare nsenter setsid ip sysctl; do
		command -v "$c" >/dev/null || missing+=("$c")
	done
	command -v apt-get >/dev/null || missing+=("apt-get: images are put together from Debian's packages")
	grep -q " $CG/pids cgroup " /proc/mounts || missing+=("a cgroup v1 hierarchy at $CG/pids: the lab finds its processes by it")
	[ ${#missing[@]} = 0 ] && return
	printf 'error: the lab cannot run on this machine. Missing:\n' >&2
	printf '  %s\n' "${missing[@]}" >&2
	exit 1
}

# apt_install PACKAGE...: the index may be too old for the mirror, so try twice.
apt_install() {
	export DEBIAN_FRONTEND=noninteractive
	apt-get install -y "$@" >/dev/null 2>&1 || { apt-get update >/dev/null && apt-get install -y "$@" >/dev/null; } ||
		die "cannot install $*"
}

# v1_hierarchies prints the cgroup v1 folders of this machine.
v1_hierarchies() { awk '$3=="cgroup"{print $2}' /proc/mounts | grep "^$CG/" | sort -u; }

# holder NAME FLAGS...: a process that sleeps in new namespaces and keeps them
# alive; its pid is in $RUN/NAME.pid.
holder() {
	local name=$1; shift
	setsid unshare "$@" --propagation private bash -c 'echo $$ >"$0/cgroup.procs"; echo $$ >"$1"; exec sleep infinity' \
		"$CG/pids/lab" "$RUN/$name.pid" </dev/null >/dev/null 2>&1 &
	for _ in $(seq 200); do [ -s "$RUN/$name.pid" ] && return; sleep 0.01; done
	die "namespaces of $name did not start"
}

# enter NAME CMD...: run a command in the namespaces of holder NAME.
enter() {
	local p; p=$(cat "$RUN/$1.pid"); shift
	nsenter -t "$p" -m -n -u -- "$@"
}

# start NAME HOLDER CMD...: run a daemon in a holder's namespaces and in the
# lab's own pids cgroup, by which down finds it and all that it leaves behind.
start() {
	local name=$1 hold=$2; shift 2
	setsid nsenter -t "$(cat "$RUN/$hold.pid")" -m -n -u -- bash -c \
		'echo $$ >"$0/cgroup.procs"; echo $$ >"$1"; shift; exec "$@"' \
		"$CG/pids/lab" "$RUN/$name.pid" "$@" </dev/null >"$LOG/$name.log" 2>&1 &
}

# lab_pids prints every process in the lab's cgroups: daemons, shims, containers.
lab_pids() { find "$CG/pids/lab" -name cgroup.procs -exec cat {} + 2>/dev/null; }

# stamp FILE...: a hash over files, to see whether what was made from them is current.
stamp() { cat "$@" | sha256sum | cut -d' ' -f1; }

# current NAME STAMP: whether what goes by NAME was made from that.
current() { [ "$(cat "$LAB_DIR/stamp/$1" 2>/dev/null)" = "$2" ]; }

# made NAME STAMP: remember it.
made() { mkdir -p "$LAB_DIR/stamp"; echo "$2" >"$LAB_DIR/stamp/$1"; }
