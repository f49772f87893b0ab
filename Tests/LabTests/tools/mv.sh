# Moves trees to the other export and back, and files over files inside one.
. "$(dirname "$0")/common.sh"
cp -a "$input/$tree" back
cp -a "$input/$tree" stays
cp -a "$input/data" data
mv back stays "$other/"
[[ ! -e back && ! -e stays ]] || die "mv left something behind"
mv "$other/back" back
[[ ! -e $other/back ]] || die "mv left something in the other export"
mv data "$other/data"
mv "$other/data/c" c
mv c/d/octets-1 c/d/octets-2
mv -n c/d/octets-3 c/d/octets-4
mv c c2
mkdir target
mv -T c2 target # over an empty directory
mv target/d .
