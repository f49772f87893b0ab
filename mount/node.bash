# shellcheck shell=bash
# Shared by up, down and mount.v: finding, starting and ending this host's node, and finding mounts.
# They source it after setting `program` to the name in front of messages.
#
# Only `v_answers` touches a path on V's mount, with a time limit: a node that hangs would hang the
# caller.

repo=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd -P) || exit 1
run=/run/v
log=/var/log/vnode.log
config=/etc/v/vnode.toml
other_config=$run/mount.toml # of a node that mount.v was told to mount elsewhere
ready_seconds=10
export PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin LC_ALL=C

say() { echo "$program: $*"; }
die() { echo "$program: $*" >&2; exit 1; }

# Locks this host's node until the program ends.
lock() {
  { mkdir -p "$run" && exec 9>"$run/lock"; } || exit 1
  flock -w 60 9 || die "another command of mount/ is at work and does not end"
}

# --- What is mounted.

# The type and the source of the topmost mount at POINT; fails if there is none.
mount_at() { # POINT
  local escaped=${1//\\/\\134}
  escaped=${escaped// /\\040}
  point=$escaped awk '$5 == ENVIRON["point"] {
      for (i = 7; $i != "-"; i++);
      found = $(i + 1) " " $(i + 2)
    }
    END { if (found == "") exit 1; print found }' /proc/self/mountinfo
}

v_is_on() { [[ $(mount_at "$1") == "fuse.v "* ]]; }
v_answers() { timeout -k 1 3 ls -- "$1" >/dev/null 2>&1; }

# Removes the mounts of nodes that were killed; there may be several on top of each other.
clear_dead() { # POINT
  local _
  for _ in {1..64}; do
    v_is_on "$1" || return 0
    timeout -k 1 5 umount -c -l -- "$1" || return 1
  done
}

# Where V is to be mounted according to a configuration; empty if nowhere. A TOML string is in
# single quotes without escapes, or in double quotes with backslashes before quotes and backslashes.
configured_point() { # FILE
  local point=/v
  [[ ! -e $1 ]] || point=$(awk '
    BEGIN { point = "/v" }
    /^[ \t]*\[/ { exit }
    sub(/^[ \t]*mount[ \t]*=[ \t]*/, "") {
      quote = substr($0, 1, 1)
      point = ""
      for (i = 2; i <= length($0); i++) {
        letter = substr($0, i, 1)
        if (letter == quote) break
        if (letter == "\\" && quote == "\"") letter = substr($0, ++i, 1)
        point = point letter
      }
    }
    END { print point }' "$1")
  [[ -z $point ]] || where_mounted "$point"
}

# The path of a mount point as the kernel names it: without links or spare slashes. The mount itself
# is not touched.
where_mounted() { # DIR
  local point
  point=$(realpath -ms -- "$1")
  v_is_on "$point" || point=$(timeout -k 1 2 realpath -m -- "$point") || point=$1
  echo "$point"
}

# --- The node. It is recorded with its start time, so that a reused number is never taken for it.

start_time() { # PID; prints nothing for a process that is dead
  local stat
  { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 0
  # shellcheck disable=SC2086
  set -- ${stat##*) }
  [[ $1 == Z ]] || echo "${20}"
}

is_alive() { [[ -n $(start_time "$1") ]]; }

# Sets `node` to the process of this host's node (empty if there is none) and `point` to where it
# mounts, or would. A node that was not recorded is recognised by its program and its arguments;
# nodes of other namespaces (a lab's, a container's) and nodes with another configuration are
# skipped.
find_node() {
  local start pid arguments
  node='' point=''
  if { read -r pid start point <"$run/vnode.pid"; } 2>/dev/null; then
    [[ -z $start || $(start_time "$pid") != "$start" ]] || node=$pid
  fi
  [[ -z $node ]] || return 0
  [[ -n $point ]] && v_is_on "$point" || point=$(configured_point "$config")
  for pid in $(find /proc/[0-9]*/exe -maxdepth 0 \
    \( -lname '*/vnode' -o -lname '*/vnode (deleted)' \) -printf '%h\n' 2>/dev/null); do
    pid=${pid#/proc/}
    mapfile -d '' -t arguments 2>/dev/null <"/proc/$pid/cmdline"
    arguments=("${arguments[@]:1}")
    [[ ${arguments[0]:-} != --log ]] || arguments=("${arguments[@]:2}")
    case ${arguments[*]} in '' | "--config $config") ;; *) continue ;; esac
    [[ /proc/$pid/ns/mnt -ef /proc/self/ns/mnt && /proc/$pid/ns/net -ef /proc/self/ns/net ]] ||
      continue
    node=$pid
    return
  done
}

# The systemd unit that a process belongs to; empty where it is not one of vnode's.
unit_of() { # PID
  sed -nE '/\/vnode[^/]*\.service$/ { s,.*/,,p; q }' "/proc/$1/cgroup" 2>/dev/null
}

find_program() {
  for vnode in "$repo/.build/release/vnode" /usr/local/bin/vnode /usr/bin/vnode; do
    [[ ! -x $vnode ]] || return 0
  done
  die "there is no vnode: install the package v-system, or build it with mount/up"
}

# Starts the node that mounts on POINT and returns when the mount answers; else says why not.
start_node() { # POINT ARGUMENT...
  local began pid end=$((SECONDS + ready_seconds))
  began=$(stat -c %s "$log" 2>/dev/null || echo 0)
  (
    # The node inherits no descriptor of the caller: else a process that waits for the end of one
    # would wait as long as the node runs.
    for fd in /proc/self/fd/*; do
      fd=${fd##*/}
      ((fd < 3)) || eval "exec $fd>&-"
    done
    cd / && umask 022
    exec setsid env --default-signal "$vnode" --log "$log" "${@:2}"
  ) </dev/null >>"$log" 2>&1 &
  pid=$!
  echo "$pid $(start_time $pid) $1" >"$run/vnode.pid"
  until v_is_on "$1" && v_answers "$1"; do
    if ! is_alive "$pid"; then
      tail -c "+$((began + 1))" "$log" >&2
      rm -f "$run/vnode.pid"
      die "the node ended at once; its reason is above (and in $log)"
    fi
    ((SECONDS < end)) || {
      tail -c "+$((began + 1))" "$log" >&2
      die "the node (process $pid) runs, but $1 does not answer after $ready_seconds s; see $log"
    }
    sleep 0.05
  done
}

# Ends the node, by force where it does not end by itself.
end_node() { # PID
  local signal end
  for signal in TERM KILL; do
    [[ $signal == TERM ]] || say "the node (process $1) does not end; it is killed"
    kill "-$signal" "$1" 2>/dev/null
    end=$((SECONDS + ready_seconds))
    while is_alive "$1" && ((SECONDS < end)); do sleep 0.05; done
    is_alive "$1" || break
  done
  ! is_alive "$1" || die "the node (process $1) can not be killed"
  rm -f "$run/vnode.pid"
}
