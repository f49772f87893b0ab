# Packs loose objects and references, expires, and checks the whole.
# Differs: */.git/index  (inode numbers and dates of the files it lists)
. "$(dirname "$0")/common.sh"
git clone -q --no-local "$input/repo" clone
cd clone
for n in {1..5}; do
  echo $n >>part-1/1/file-1
  git commit -qam "Change $n"
  git branch at-$n
done
git reset -q --hard at-3
git branch -qD at-4 at-5
git count-objects
git reflog expire --expire=now --all
git gc -q --prune=now
git fsck --full --strict --no-progress
git count-objects
git log --all --oneline | sha256sum
git status --porcelain
