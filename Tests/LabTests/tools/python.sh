# Unpacks a package, imports it, and imports it again from what the first import compiled.
# Differs: */__pycache__/*.pyc  (the path it was compiled at; the date of a file just unzipped)
. "$(dirname "$0")/common.sh"
unset PYTHONDONTWRITEBYTECODE
python3 -m tarfile -e "$input/package.tar.gz" tar
python3 -m zipfile -e "$input/package.zip" zip
for kind in tar zip; do
  cd "$work/$kind"
  python3 -m numbers_v
  find . -name '*.pyc' | wc -l
  find . -name '*.pyc' -exec stat -c '%n %i %.9Y' {} + | sort >../before
  python3 -m numbers_v
  # Compiled again means that a source's date or size was not what it was a moment ago.
  find . -name '*.pyc' -exec stat -c '%n %i %.9Y' {} + | sort | diff ../before - >&2 ||
    die "the second import compiled again"
  python3 -m compileall -q -f .
  rm ../before
done
cd "$work"
cp "$input/package.zip" .
PYTHONPATH=package.zip python3 -c 'import numbers_v; print(numbers_v.total())'
