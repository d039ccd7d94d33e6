#!/bin/sh
# adduser [-u UID] [-G GROUP] [-h HOME] [-s SHELL] [-g NAME] [-SDH] USER
# [GROUP], for Dockerfiles: Debian's busybox is built without it.
set -e
uid= group= home= shell=/bin/sh name= make=yes user= also=
while [ $# -gt 0 ]; do
	case $1 in
	-u | --uid) uid=$2; shift ;;
	-G | --ingroup) group=$2; shift ;;
	-h | --home) home=$2; shift ;;
	-s | --shell) shell=$2; shift ;;
	-g | --gecos) name=$2; shift ;;
	-H | --no-create-home) make=no ;;
	-[SDH][SDH]*) case $1 in *H*) make=no ;; esac ;;
	-*) ;; # a system user, or one without a password: all are
	*) if [ -z "$user" ]; then user=$1; else also=$1; fi ;;
	esac
	shift
done
if [ -n "$also" ]; then
	exec addgroup "$user" "$also"
fi
if grep -q "^$user:" /etc/passwd; then
	echo "adduser: user '$user' in use" >&2
	exit 1
fi
home=${home:-/home/$user}
if [ -z "$uid" ]; then
	uid=100
	while grep -q "^[^:]*:[^:]*:$uid:" /etc/passwd; do uid=$((uid + 1)); done
fi
if [ -z "$group" ]; then
	group=$user
	grep -q "^$group:" /etc/group || addgroup -g "$uid" "$group" 2>/dev/null || addgroup "$group"
fi
gid=$(grep "^$group:" /etc/group | cut -d: -f3)
[ -n "$gid" ] || { echo "adduser: no group $group" >&2; exit 1; }
echo "$user:x:$uid:$gid:$name:$home:$shell" >>/etc/passwd
if [ "$make" = yes ]; then
	mkdir -p "$home"
	chown "$uid:$gid" "$home"
fi
