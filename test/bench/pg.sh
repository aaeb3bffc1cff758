# Makes a PostgreSQL data folder of some 2 GB in $1: half of it pgbench's own tables, which compress very well, half rows such as
# applications keep. Needs PostgreSQL 15, and root to become its user.
set -eu
bin=/usr/lib/postgresql/15/bin
dir=$1 run=$1.run
rm -rf "$dir" "$run"
install -d -o postgres -g postgres -m 700 "$dir" "$run"
cd /
as() { setpriv --reuid=postgres --regid="$(id -g postgres)" --clear-groups env HOME="$run" PATH="$bin:$PATH" "$@"; }
as initdb -D "$dir" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --data-checksums >/dev/null
as pg_ctl -D "$dir" -l "$run/log" -w -o "-k $run -c listen_addresses='' -c max_wal_size=512MB" start >/dev/null
trap 'as pg_ctl -D "$dir" -m fast -w stop >/dev/null; rm -rf "$run"' EXIT
as createdb -h "$run" -U postgres bench
as pgbench -h "$run" -U postgres -i -q -s 60 bench 2>/dev/null
as psql -q -h "$run" -U postgres bench <<'SQL'
select setseed(0.5);
create table orders (id bigint primary key, placed timestamptz, customer text, state text, detail jsonb, remark text);
insert into orders
select i, timestamptz '2026-01-01' + i * interval '2 s', md5((random() * 50000)::int::text),
	(array['open', 'paid', 'packed', 'shipped', 'returned', 'refunded'])[1 + (random() * 5.99)::int],
	jsonb_build_object('basket', md5(random()::text), 'total', round((random() * 9999)::numeric, 2), 'items', (random() * 20)::int,
		'address', (random() * 255)::int || '.' || (random() * 255)::int || '.0.1', 'agent', md5((random() * 1e6)::int::text)),
	(select string_agg((array['a', 'customer', 'asked', 'for', 'another', 'size', 'and', 'the', 'parcel', 'went', 'back', 'to',
		'our', 'store', 'where', 'nobody', 'knew', 'of', 'it', 'until', 'today', 'evening'])[1 + (random() * 21.99)::int], ' ')
	from generate_series(1, 8 + (i % 9)::int))
from generate_series(1, 1200000) i;
create index on orders (customer);
create index on orders (placed);
checkpoint;
SQL
