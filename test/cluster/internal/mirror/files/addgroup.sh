#!/bin/sh
# addgroup [-g GID] [-S] GROUP, or addgroup USER GROUP, for Dockerfiles:
# Debian's busybox is built without it.
set -e
gid= first= second=
while [ $# -gt 0 ]; do
	case $1 in
	-g | --gid) gid=$2; shift ;;
	-*) ;;
	*) if [ -z "$first" ]; then first=$1; else second=$1; fi ;;
	esac
	shift
done
if [ -n "$second" ]; then
	grep -q "^$second:" /etc/group || { echo "addgroup: no group $second" >&2; exit 1; }
	sed -i -e "/^$second:/s/\$/,$first/" -e "/^$second:/s/:,/:/" /etc/group
	exit
fi
if grep -q "^$first:" /etc/group; then
	echo "addgroup: group '$first' in use" >&2
	exit 1
fi
if [ -z "$gid" ]; then
	gid=100
	while grep -q "^[^:]*:[^:]*:$gid:" /etc/group || grep -q "^[^:]*:[^:]*:$gid:" /etc/passwd; do gid=$((gid + 1)); done
elif grep -q "^[^:]*:[^:]*:$gid:" /etc/group; then
	echo "addgroup: gid '$gid' in use" >&2
	exit 1
fi
echo "$first:x:$gid:" >>/etc/group
