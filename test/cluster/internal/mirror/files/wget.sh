#!/bin/sh
# Busybox's wget, whose own -T crashes in Debian's build: the time limit is
# kept from outside.
limit=
n=$#
while [ "$n" -gt 0 ]; do
	case $1 in
	-T) limit=$2; shift 2; n=$((n - 2)); continue ;;
	-T?*) limit=${1#-T}; shift; n=$((n - 1)); continue ;;
	--timeout=*) limit=${1#--timeout=}; shift; n=$((n - 1)); continue ;;
	-t) shift 2; n=$((n - 2)); continue ;;
	--tries=*) shift; n=$((n - 1)); continue ;;
	esac
	set -- "$@" "$1"
	shift
	n=$((n - 1))
done
if [ -n "$limit" ]; then
	exec /bin/busybox timeout "$limit" /bin/busybox wget "$@"
fi
exec /bin/busybox wget "$@"
