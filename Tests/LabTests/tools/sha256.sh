# Checksums of a tree, two readers at a time, the same as those of the input.
. "$(dirname "$0")/common.sh"
cp -r "$input/data" .
sums() { (cd "$1" && find data -type f -print0 | xargs -0 -P 2 -n 20 sha256sum | sort -k 2); }
sums "$input" >expected
sums "$work" >found
diff expected found >&2
sha256sum <found
wc -l <found
