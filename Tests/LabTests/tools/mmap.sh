# Readers by mmap, private and shared, while and after a file grows; changes to a private mapping.
. "$(dirname "$0")/common.sh"
head -c 20000001 "$input/big" >file
python3 - "$input/big" <<'END'
import hashlib
import mmap
import random
import sys

SIZE = 20000001
with open(sys.argv[1], "rb") as big:
    expected = big.read(SIZE + 70000)
choose = random.Random(5)

with open("file", "rb") as file:
    for flags, name in (mmap.MAP_PRIVATE, "private"), (mmap.MAP_SHARED, "shared"):
        with mmap.mmap(file.fileno(), 0, flags=flags, prot=mmap.PROT_READ) as view:
            assert len(view) == SIZE, (name, len(view))
            for _ in range(2000):
                at = choose.randrange(SIZE)
                assert view[at:at + 100] == expected[at:min(at + 100, SIZE)], (name, at)
            assert view[:] == expected[:SIZE], name
            print(name, hashlib.sha256(view).hexdigest())

with open("file", "r+b") as file:
    with mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE,
                   prot=mmap.PROT_READ | mmap.PROT_WRITE) as view:
        view[1000:1010] = b"0123456789"
        file.seek(1000)
        assert file.read(10) == expected[1000:1010], "a private change reached the file"
    with open("file", "ab") as end:
        end.write(expected[SIZE:])
    with mmap.mmap(file.fileno(), 0, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ) as view:
        assert view[:] == expected, "after growth"
print("grown", hashlib.sha256(expected).hexdigest())
END
cmp -n 20070001 file "$input/big"
git hash-object file # reads by mmap
