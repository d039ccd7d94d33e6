#!/bin/sh
# Runs mariadbd as the user mysql. A new data directory gets root's password, the database and the user that the environment names,
# under the names with MARIADB_ or MYSQL_.
set -e
case $1 in
-*) set -- mariadbd "$@" ;;
esac
case $1 in
mariadbd | mysqld) ;;
*) exec "$@" ;;
esac
data=/var/lib/mysql
if [ "$(id -u)" = 0 ]; then
	mkdir -p $data /run/mysqld
	chown -R mysql:mysql $data /run/mysqld
	exec setpriv --reuid=mysql --regid=mysql --clear-groups "$0" "$@"
fi

# secret prints a variable, or what the file holds that the variable of the same name with _FILE names.
secret() {
	for prefix in MARIADB MYSQL; do
		eval "value=\${${prefix}_$1-} file=\${${prefix}_$1_FILE-}"
		if [ -n "$file" ]; then cat "$file" && return; fi
		if [ -n "$value" ]; then printf %s "$value" && return; fi
	done
}

# quoted is a text as SQL reads it.
quoted() { printf "'%s'" "$(printf %s "$1" | sed "s/\\\\/\\\\\\\\/g; s/'/''/g")"; }

if [ ! -d $data/mysql ]; then
	root=$(secret ROOT_PASSWORD) database=$(secret DATABASE) user=$(secret USER) password=$(secret PASSWORD)
	if [ -z "$root$(secret ALLOW_EMPTY_ROOT_PASSWORD)$(secret ALLOW_EMPTY_PASSWORD)$(secret RANDOM_ROOT_PASSWORD)" ]; then
		echo "MARIADB_ROOT_PASSWORD must be set" >&2
		exit 1
	fi
	{
		printf '%s\n' "CREATE DATABASE mysql;" "USE mysql;" "SET @auth_root_socket=NULL;" # One statement a line.
		cat /usr/share/mysql/mysql_system_tables.sql /usr/share/mysql/mysql_performance_tables.sql /usr/share/mysql/mysql_system_tables_data.sql
	} | mariadbd --no-defaults --bootstrap --datadir=$data >/tmp/bootstrap 2>&1 || { cat /tmp/bootstrap >&2; rm -rf $data/*; exit 1; }
	{
		echo "FLUSH PRIVILEGES;"
		echo "CREATE OR REPLACE USER root@localhost IDENTIFIED BY $(quoted "$root");"
		echo "GRANT ALL ON *.* TO root@localhost WITH GRANT OPTION;"
		echo "CREATE OR REPLACE USER root@'%' IDENTIFIED BY $(quoted "$root");"
		echo "GRANT ALL ON *.* TO root@'%' WITH GRANT OPTION;"
		[ -z "$database" ] || echo "CREATE DATABASE \`$database\`;"
		[ -z "$user" ] || echo "CREATE USER $(quoted "$user")@'%' IDENTIFIED BY $(quoted "$password");"
		[ -z "$user" ] || [ -z "$database" ] || echo "GRANT ALL ON \`$database\`.* TO $(quoted "$user")@'%';"
	} > /tmp/first.sql
	set -- "$@" --init-file=/tmp/first.sql
fi
exec "$@" --datadir=$data --socket=/run/mysqld/mysqld.sock --bind-address=0.0.0.0 --lc-messages-dir=/usr/share/mysql
