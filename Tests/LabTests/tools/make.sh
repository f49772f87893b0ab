# Builds, finds nothing to do, and rebuilds exactly what a changed header touches.
. "$(dirname "$0")/common.sh"
cp -r "$input/c/." .
make -s -j2
out/program
make -q || die "make -j2 left something to do"
until [[ f7.h -nt out/program ]]; do touch f7.h; done
make -j2 | grep -c -- -MMD
out/program
