#!/bin/sh
# Fills in configuration templates from the environment and runs what lies in
# /docker-entrypoint.d before nginx starts.
set -e
if [ "$1" = nginx ]; then
	names=$(env | sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)=.*/${\1}/p' | tr '\n' ' ')
	for template in /etc/nginx/templates/*.template; do
		[ -f "$template" ] || continue
		result=${template##*/}
		envsubst "$names" <"$template" >"/etc/nginx/conf.d/${result%.template}"
	done
	for script in /docker-entrypoint.d/*.sh; do
		[ -x "$script" ] || continue
		"$script"
	done
fi
exec "$@"
