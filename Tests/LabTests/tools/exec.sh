# Starts programs and scripts that lie in the work directory.
. "$(dirname "$0")/common.sh"
cp /bin/echo say # by path: the shell has its own
cp "$(command -v sha256sum)" sum
./say said
./sum <"$input/tree/large"
printf '#!/bin/sh\necho "$0 ran with $*"\n' >script
chmod 755 script
./script one two
printf '#!./say interpreter\n' >other
chmod 755 other
./other
chmod 644 other
status=0
./other 2>/dev/null || status=$?
echo $status
# A running program can be replaced by another, as an upgrade does.
cp "$(command -v sleep)" running
./running 30 &
cp say next
mv next running
./running replaced
kill $!
wait $! || echo "ended by $(($? - 128))"
find . -type f -perm -1 | sort | xargs sha256sum
for n in {1..50}; do ./script $n; done | ./sum
