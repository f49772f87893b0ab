# Edits in place, with and without backups, through symbolic links, many files at once.
. "$(dirname "$0")/common.sh"
cp -a "$input/data/a" a
chmod 640 a/text-1
ln -s text-2 a/link
ln -s text-3 a/followed
ln a/text-4 a/hard
sed -i 's/entity/process/g; 2d' a/text-[1-9] a/text-[1-9]?
sed -i.orig 's/group/GROUP/' a/text-1??
sed -i 's/^/linked /' a/link
sed -i --follow-symlinks 's/^/followed /' a/followed
sed -i '1,5d' a/text-60
cat a/text-1?? | sha256sum
ls a | wc -l
