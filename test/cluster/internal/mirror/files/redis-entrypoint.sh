#!/bin/sh
# Runs redis-server as the user redis when the container starts as root, and
# without protected mode, which would refuse every other pod.
set -e
case $1 in
-* | *.conf) set -- redis-server "$@" ;;
esac
if [ "$1" = redis-server ]; then
	case " $* " in
	*protected-mode*) ;;
	*) set -- "$@" --protected-mode no ;;
	esac
	if [ "$(id -u)" = 0 ]; then
		chown -R redis:redis . 2>/dev/null || true
		exec /usr/bin/setpriv --reuid=redis --regid=redis --clear-groups "$@"
	fi
fi
exec "$@"
