# Clones through a pipe (index-pack), and from the clone by hard links.
# Differs: */.git/index  (inode numbers and dates of the files it lists)
. "$(dirname "$0")/common.sh"
git clone -q --no-local "$input/repo" clone
git clone -q clone linked
git -C linked fsck --strict --no-progress
git -C linked log --format='%H %s' -3
git -C clone status --porcelain --branch
# The path of the first clone; all else in the file is compared.
git -C linked remote set-url origin elsewhere
# Its log names that path too.
find linked/.git/logs -type f -exec sed -i "s,$work,WORK," {} +
