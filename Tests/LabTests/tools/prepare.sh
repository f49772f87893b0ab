#!/bin/bash
# Makes the inputs of the matrix in DIRECTORY, always the same: prepare.sh DIRECTORY (as root).
# All files are dated before 2020: that tells dates which a tool keeps from those it sets.
set -euo pipefail
umask 022
export LC_ALL=C TZ=UTC
mkdir -p "$1"
cd "$1"

# Lines of text, the same for the same SEED: text SEED LINES
text() {
  awk -v seed="$1" -v lines="$2" 'BEGIN {
    srand(seed)
    split("entity process group send receive reply forward message segment name context", word)
    for (n = 0; n < lines; n++) {
      line = ""
      for (i = 0; i < 8; i++) line = line " " word[1 + int(rand() * 11)] int(rand() * 1000)
      print n line
    }
  }'
}

make_repository() {
  local commit file
  printf '%s\n' '[safe]' 'directory = *' '[init]' 'defaultBranch = main' \
    '[pack]' 'threads = 1' '[gc]' 'auto = 0' '[advice]' 'detachedHead = false' >gitconfig
  export GIT_CONFIG_GLOBAL=$PWD/gitconfig GIT_CONFIG_NOSYSTEM=1
  export GIT_AUTHOR_NAME=Kea GIT_AUTHOR_EMAIL=kea@v GIT_COMMITTER_NAME=Kea GIT_COMMITTER_EMAIL=kea@v
  git init -q repo
  cd repo
  for file in {1..300}; do
    mkdir -p "part-$((file % 12))/$((file % 5))"
    text $file $((file % 40 + 1)) >"part-$((file % 12))/$((file % 5))/file-$file"
  done
  printf '#!/bin/sh\necho run\n' >run.sh
  chmod 755 run.sh
  ln -s part-1/1/file-1 link
  for commit in {1..30}; do
    for file in $(seq $commit 17 300); do
      text $((1000 * commit + file)) 3 >>"part-$((file % 12))/$((file % 5))/file-$file"
    done
    git add -A
    GIT_AUTHOR_DATE="@$((1300000000 + commit * 3600)) +0000" \
      GIT_COMMITTER_DATE="@$((1300000000 + commit * 3600)) +0000" git commit -qm "Change $commit"
  done
  git tag first HEAD~29
  git branch side HEAD~7
  cd ..
}

# Twenty sources, each with a header, whose functions call one another.
make_c_project() {
  local n
  mkdir -p c
  for n in {1..20}; do
    printf 'unsigned f%d(unsigned x);\n' $n >c/f$n.h
    {
      echo "#include \"f$n.h\""
      ((n == 20)) || echo "#include \"f$((n + 1)).h\""
      echo "static const unsigned table[] = {"
      seq -f "  ${n}u * %.0fu," 200
      echo "};"
      echo "unsigned f$n(unsigned x) {"
      echo "  for (unsigned i = 0; i < 200; i++) x = x * 31 + table[(x + i) % 200];"
      if ((n == 20)); then echo "  return x;"; else echo "  return f$((n + 1))(x);"; fi
      echo "}"
    } >c/f$n.c
  done
  printf '%s\n' '#include "f1.h"' '#include <stdio.h>' \
    'int main(void) { return printf("%u\n", f1(1)) < 0; }' >c/main.c
  cat >c/Makefile <<'END'
objects := $(patsubst %.c,out/%.o,$(wildcard *.c))

out/program: out/all.a
	$(CC) -o $@ $<
out/all.a: $(objects)
	ar crD $@ $^
out/%.o: %.c
	@mkdir -p out
	$(CC) -O1 -MMD -c -o $@ $<
-include out/*.d
END
}

# A tree with every kind of file that any user can make, and odd names, modes and times.
make_tree() {
  mkdir -p tree/{empty,deep/a/b/c/d/e/f/g/h/i/j,names,group}
  text 1 200 >tree/text
  : >tree/nothing
  printf 'no newline' >tree/deep/a/b/c/d/e/f/g/h/i/j/bottom
  printf '#!/bin/sh\necho ran\n' >tree/script
  head -c 300000 <(text 2 20000) >tree/large
  truncate -s 5M tree/sparse
  printf 'end' >>tree/sparse
  text 3 5 >tree/read-only
  ln tree/text tree/hard-1
  ln tree/text tree/deep/hard-2
  ln tree/script tree/deep/a/hard-script
  ln -s text tree/link
  ln -s nowhere/at/all tree/dangling
  ln -s /etc/hostname tree/absolute
  ln -s ../.. tree/deep/a/up
  ln -s "$(printf 'x%.0s' {1..1000})" tree/long-link
  mkfifo -m 620 tree/fifo
  local name
  for name in ' space ' $'line\nbreak' $'\xc3\xa9t\xc3\xa9' $'\xff\xfe' '*' '-n' '.hidden' '...' \
    'back\slash' '"quoted"' "$(printf 'n%.0s' {1..255})"; do
    printf '%s' "$name" >"tree/names/$name"
  done
  chmod 755 tree/script
  chmod 444 tree/read-only
  chmod 2775 tree/group
}

# What only root can make or read.
make_root_tree() {
  local id
  cp -a tree tree-root
  mkdir tree-root/{closed,private,sticky}
  text 4 5 >tree-root/private/file
  chmod 1777 tree-root/sticky
  chmod 700 tree-root/private
  chmod 600 tree-root/private/file
  text 5 5 >tree-root/closed/file
  chmod 0 tree-root/closed/file tree-root/closed
  mknod -m 640 tree-root/null c 1 3
  mknod -m 600 tree-root/block b 7 200
  python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("tree-root/socket")'
  for id in 1 8 54321; do
    text $id 5 >tree-root/owner-$id
    chown $id:$((id + 1)) tree-root/owner-$id
    ln -s owner-$id tree-root/link-$id
    chown -h $id:$((id + 1)) tree-root/link-$id
  done
  printf '#!/bin/sh\n' >tree-root/setuid
  chown 1:1 tree-root/setuid
  chmod 6755 tree-root/setuid
  chown 1 tree-root/group
}

# Files of every size near which something in a transport changes.
make_data() {
  local size n=0
  mkdir -p data/{a,b,c/d}
  for size in 0 1 511 512 1023 1024 1025 4095 4096 4097 16383 16384 16385 65535 65536 65537 \
    131071 131072 131073 262144 1048575 1048577; do
    tail -c +$((n * 99991 + 1)) big | head -c $size >data/size-$size || [[ $? == 141 ]]
    n=$((n + 1))
  done
  for n in {1..150}; do
    text $n $((n * 3)) >data/a/text-$n
    tail -c +$((n * 1009 + 1)) big | head -c $((n * 37)) >data/c/d/octets-$n || [[ $? == 141 ]]
  done
}

make_package() {
  mkdir -p package/numbers_v/deep
  echo 'from numbers_v.deep.sums import total' >package/numbers_v/__init__.py
  echo 'NAME = "numbers"' >package/numbers_v/deep/__init__.py
  local n
  for n in {1..40}; do
    printf 'VALUE = %d\n\n\ndef value():\n    return VALUE\n' $n >package/numbers_v/deep/part_$n.py
  done
  {
    printf 'from . import part_%d\n' {1..40}
    printf '\n\ndef total():\n    return sum((\n'
    printf '        part_%d.value(),\n' {1..40}
    printf '    ))\n'
  } >package/numbers_v/deep/sums.py
  printf 'import numbers_v\n\nprint(numbers_v.total())\n' >package/numbers_v/__main__.py
  head -c 100000 big >package/numbers_v/data.bin
}

# Every file and directory gets a date of its own, with nanoseconds; directories come last.
date_all() {
  local path n=0
  while IFS= read -r -d '' path; do
    n=$((n + 1))
    touch -h -d "@$((1000000000 + n * 86413)).$(printf %09d $((n * 7919993 % 1000000000)))" "$path"
  done < <(find "$@" -depth -print0 | sort -rz)
}

python3 -c 'import random, sys
source = random.Random(1984)
for _ in range(256): sys.stdout.buffer.write(source.randbytes(1 << 20))' >big
make_repository
make_c_project
make_data
make_package
make_tree
make_root_tree
date_all tree tree-root data package c
for name in tree tree-root; do tar --sort=name --warning=no-file-ignored -cf $name.tar $name; done
tar --sort=name -C package -czf package.tar.gz numbers_v
(cd package && python3 -m zipfile -c ../package.zip numbers_v)
