# A directory of 20,000 files, made, listed, counted and removed.
. "$(dirname "$0")/common.sh"
mkdir many
cd many
seq -f 'file-%05g' 20000 | xargs touch
ls -f | wc -l
ls -f | sort | uniq -d
find . -type f | wc -l
ls -l | awk '{ print $1, $5 }' | sort | uniq -c
ls | sha256sum
cd ..
rm -r many # reads the directory while it empties
ls -A
seq -f 'left-%g' 100 | xargs touch
