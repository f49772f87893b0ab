# What git sees of changes: content, mode, names, and a change of the same size within one second.
# Differs: */.git/index  (inode numbers and dates of the files it lists)
. "$(dirname "$0")/common.sh"
git clone -q --no-local "$input/repo" clone
cd clone
git status --porcelain
echo more >>part-1/1/file-1
echo 0 >new
chmod 644 run.sh
rm part-2/2/file-2
mv part-3/3/file-3 part-3/moved
ln -sf elsewhere link
git status --porcelain
git diff --stat
git add -A
git commit -qm 'Change it all'
git status --porcelain
for digit in {1..9}; do
  echo $digit >new
  git status --porcelain | grep -q '^.M new$' || die "git missed a change of the same size"
  git add new
done
git stash -q
git switch -q side
git status --porcelain
git switch -q main
git stash pop -q
git status --porcelain
git log -1 --format=%H
