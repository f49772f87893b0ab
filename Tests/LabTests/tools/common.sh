# The start of every tool of the matrix, which is run as
#   bash NAME.sh WORKDIR INPUTDIR OTHERDIR
# INPUTDIR is what prepare.sh made. WORKDIR and OTHERDIR are empty; in /v they are on two exports.
# What a tool prints and leaves behind must not depend on where they are. Where it does by nature,
# a line "# Differs: PATTERN" exempts the content and size of files whose path from WORKDIR matches.
set -euo pipefail
umask 022
work=$1 input=$2 other=$3
user=$(id -un)
export LC_ALL=C TZ=UTC HOME=/nonexistent PATH=/usr/bin:/bin
export GIT_CONFIG_GLOBAL=$input/gitconfig GIT_CONFIG_NOSYSTEM=1
export GIT_AUTHOR_NAME=Ann GIT_AUTHOR_EMAIL=ann@v GIT_AUTHOR_DATE='2012-05-06T07:08:09Z'
export GIT_COMMITTER_NAME=Ann GIT_COMMITTER_EMAIL=ann@v GIT_COMMITTER_DATE='2012-05-06T07:08:09Z'
cd "$work"

die() { echo "$*" >&2; exit 1; }

# Devices, other people's files and files that only root reads are in a tree of their own.
tree=tree
[[ $user != root ]] || tree=tree-root
