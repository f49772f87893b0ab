# Copies with all that can be kept, from the input and from the copy; a copy by hard links.
. "$(dirname "$0")/common.sh"
cp -a "$input/$tree" first
cp -a first second
cp -al first links
cp -r --no-preserve=all "$input/data" plain
cp -a --sparse=always plain/size-1048577 sparse
cp -u plain/size-1023 plain/size-1024
cp --remove-destination plain/size-511 plain/size-512
