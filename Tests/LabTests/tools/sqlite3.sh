# A thousand transactions, some rolled back, and what they left, seen by another process.
. "$(dirname "$0")/common.sh"
{
  echo 'create table entries (id integer primary key, host text, value integer);'
  for n in {1..1000}; do
    echo "begin immediate; insert into entries (host, value) values ('host-$((n % 7))', $n);"
    if ((n % 10)); then echo 'commit;'; else echo 'rollback;'; fi
  done
} | sqlite3 -bail test.db
sqlite3 test.db 'pragma integrity_check; select count(*), sum(value) from entries;
  create index by_host on entries (host); delete from entries where id % 3 = 0; vacuum;
  pragma integrity_check; select host, sum(value) from entries group by host order by host;'
[[ ! -e test.db-journal ]] || die "a journal was left"
