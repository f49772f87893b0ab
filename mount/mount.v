#!/bin/bash
# The helper that mount(8) runs for the type v:
#
#   mount -t v v DIR            /sbin/mount.v v DIR [-sfnv] [-o OPTIONS]
#
# A node mounts by itself, at one place. So this helper starts the node that mounts on DIR, and
# returns when `ls DIR` works. SOURCE is not used and may be anything; findmnt shows the host's
# name. What is there already:
#   * a node that has DIR mounted: nothing is done;
#   * a node without a mount, because somebody ran `umount DIR`: it is restarted;
#   * a node with another mount: refused.
# DIR may differ from `mount` in the configuration: the node then runs with a copy of it, in
# /run/v/mount.toml, that has DIR instead. The exit status is as in mount(8).
set -u

program=mount.v
# shellcheck source=mount/node.bash
. "$(dirname "$(readlink -f "$0")")/node.bash"

die() { echo "$program: $*" >&2; exit 32; }
refuse() { echo "$program: $*" >&2; exit 1; }

# The mount is always rw,nosuid,nodev and open to all users. Options that say the same, and options
# for mount(8) and systemd, are accepted.
check_options() { # OPTIONS
  local option list
  IFS=, read -ra list <<<"$1"
  for option in "${list[@]}"; do
    case $option in
      '' | defaults | rw | nosuid | nodev | exec | async | relatime | allow_other) ;;
      auto | noauto | nofail | _netdev | user | users | nouser | owner | group) ;;
      x-* | X-* | comment=*) ;;
      *) $sloppy || refuse "unknown option '$option'" ;;
    esac
  done
}

# The configuration, with DIR as its mount.
write_config() { # DIR
  local quoted=${1//\\/\\\\}
  quoted=${quoted//\"/\\\"}
  (
    umask 077
    echo "mount = \"$quoted\"" >"$other_config" || exit 1
    [[ ! -e $config ]] ||
      awk '/^[ \t]*\[/ { rest = 1 } rest || !/^[ \t]*mount[ \t]*=/' "$config" >>"$other_config"
  ) || exit 2
}

(($# >= 2)) || refuse "usage: mount -t v v DIR, or mount.v SOURCE DIR [-sfnv] [-o OPTIONS]"
target=$(where_mounted "$2")
shift 2
options='' sloppy=false fake=false verbose=false
while getopts sfnvo:t: option; do
  case $option in
    s) sloppy=true ;;
    f) fake=true ;;
    n) ;;
    v) verbose=true ;;
    o) options+=,$OPTARG ;;
    t) [[ $OPTARG == v || $OPTARG == fuse.v ]] || refuse "the type is v, not $OPTARG" ;;
    *) exit 1 ;;
  esac
done
((OPTIND > $#)) || refuse "unexpected argument '${!OPTIND}'"
check_options "$options"
[[ $(id -u) == 0 ]] || refuse "only root can mount V"
! $fake || exit 0

lock
find_node
if v_is_on "$target" && v_answers "$target"; then
  say "V is mounted on $target already"
  exit 0
fi
if [[ -n $node ]]; then
  if [[ $point == "$target" ]] && v_is_on "$point"; then
    die "the node (process $node) does not answer on $point; see $log"
  elif v_is_on "$point"; then
    die "this host's node (process $node) is mounted on $point and mounts at one place only:" \
      "umount $point first, or mount --bind $point $target"
  elif unit=$(unit_of "$node") && [[ -n $unit ]]; then
    die "the node belongs to $unit and has no mount: systemctl restart $unit"
  fi
  ! $verbose || say "the node (process $node) has no mount: it is started anew"
  end_node "$node"
fi
clear_dead "$target" || die "the dead mount on $target can not be taken away"
find_program
if [[ $target == "$(configured_point "$config")" ]]; then
  start_node "$target"
else
  write_config "$target"
  start_node "$target" --config "$other_config"
fi
! $verbose || say "V is mounted on $target"
