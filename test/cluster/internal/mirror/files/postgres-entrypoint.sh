#!/bin/sh
# Runs postgres as the user postgres. A new data directory gets the user, the password and the database that the environment names,
# and what the files of /docker-entrypoint-initdb.d do.
set -e
case $1 in
-*) set -- postgres "$@" ;;
esac
[ "$1" = postgres ] || exec "$@"
if [ "$(id -u)" = 0 ]; then
	mkdir -p "$PGDATA" /run/postgresql
	chown -R postgres:postgres "$PGDATA" /run/postgresql
	exec setpriv --reuid=postgres --regid=postgres --clear-groups "$0" "$@"
fi

# secret prints a variable, or what the file holds that the variable of the same name with _FILE names.
secret() {
	eval "value=\${$1-} file=\${$1_FILE-}"
	if [ -n "$file" ]; then cat "$file"; else printf %s "$value"; fi
}

mkdir -p "$PGDATA"
chmod 700 "$PGDATA" 2>/dev/null || true
if [ ! -s "$PGDATA/PG_VERSION" ]; then
	user=$(secret POSTGRES_USER) password=$(secret POSTGRES_PASSWORD) database=$(secret POSTGRES_DB)
	user=${user:-postgres}
	if [ -z "$password" ] && [ "${POSTGRES_HOST_AUTH_METHOD-}" != trust ]; then
		echo "POSTGRES_PASSWORD must be set" >&2
		exit 1
	fi
	printf '%s\n' "$password" > /tmp/password
	initdb --username="$user" --pwfile=/tmp/password --auth-host=scram-sha-256 --encoding=UTF8 --locale=C
	rm /tmp/password
	echo "host all all all ${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}" >> "$PGDATA/pg_hba.conf"
	pg_ctl -w -o "-c listen_addresses=''" start
	export POSTGRES_USER="$user" POSTGRES_DB="${database:-$user}"
	[ "$POSTGRES_DB" = postgres ] || createdb -U "$user" "$POSTGRES_DB"
	for f in /docker-entrypoint-initdb.d/*; do
		case $f in
		*.sh) sh "$f" ;;
		*.sql) psql -v ON_ERROR_STOP=1 -U "$user" -d "$POSTGRES_DB" -f "$f" ;;
		esac
	done
	pg_ctl -w stop
fi
exec "$@" -c listen_addresses='*'
