# Unpacks, compares, packs again, and unpacks through a pipe.
. "$(dirname "$0")/common.sh"
mkdir in again
tar -C in -xpf "$input/$tree.tar"
tar -C in -df "$input/$tree.tar" || [[ $user != root ]] # other users do not keep the owner
tar -C in --sort=name -cf out.tar $tree 2>messages || die "$(<messages)"
rm messages
tar -tf out.tar | wc -l
tar -C again -xpf - <out.tar
tar -cf - -C "$input" data | tar -xf -
