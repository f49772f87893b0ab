# Saves by writing over, by renaming, with and without backups, through links.
. "$(dirname "$0")/common.sh"
save() { # FILE COMMAND...
  local file=$1 command arguments=()
  shift
  for command; do arguments+=(-c "$command"); done
  vim -N -u NONE -i NONE -es --cmd 'set backupskip=' "${arguments[@]}" \
    -c '%s/entity/ENTITY/ge' -c 'normal Golast line' -c wq "$file" </dev/null ||
    die "vim $file: status $?"
}
for name in plain over renamed backup swapless linked; do
  cp "$input/tree/text" $name
  chmod 640 $name
done
ln linked hard
ln -s plain symbolic
mkdir backups
save plain
save over 'set backupcopy=yes'
save renamed 'set backupcopy=no'
save backup 'set backup backupcopy=no'
save swapless 'set noswapfile nowritebackup'
save linked
save symbolic 'set backup backupdir=backups'
save new-file
find . -type f | sort | xargs sha256sum
find . -name '.*.sw?'
