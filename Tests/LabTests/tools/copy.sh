# 256 MiB from a plain disk, and back to it.
. "$(dirname "$0")/common.sh"
cp "$input/big" big
cmp big "$input/big"
back=$(mktemp -d "$input/copy-XXXXXX")
trap 'rm -rf "$back"' EXIT
cp big "$back/big"
cmp "$back/big" "$input/big"
stat -c %s big
