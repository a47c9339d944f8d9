#!/bin/sh
# Runs as mmdebstrap's last hook, outside: takes out of the root file system $1 what is of the build, of this machine or
# of accounts, so that the same packages give the same bytes and nothing gives rights. mmdebstrap sets the times.
set -eu
root=$1
[ -n "$root" ] && [ -d "$root/usr" ]

rm -rf "$root/opt/.build"
# The build's own: sources, resolver, host name, identity, logs, caches, copies of dpkg's state.
rm -rf "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d/* "$root"/etc/apt/apt.conf.d/99mmdebstrap \
    "$root"/etc/dpkg/dpkg.cfg.d/99mmdebstrap "$root"/etc/resolv.conf "$root"/etc/hostname "$root"/etc/machine-id \
    "$root"/var/lib/dbus/machine-id "$root"/var/lib/apt/lists/* "$root"/var/lib/apt/extended_states \
    "$root"/var/lib/dpkg/*-old "$root"/var/lib/dpkg/lock* "$root"/var/cache/* "$root"/var/log/* "$root"/var/tmp/* \
    "$root"/tmp/* "$root"/run/* "$root"/root/.[!.]* "$root"/etc/.pwd.lock
# Passwords of accounts: there are none inside a wall.
rm -f "$root"/etc/shadow* "$root"/etc/gshadow* "$root"/etc/passwd- "$root"/etc/group- "$root"/etc/subuid* "$root"/etc/subgid*
# /dev, /proc and /sys are mmdebstrap's while hooks run; nothing of them gets into the image.
each() { find "$root" -xdev \( -path "$root/dev" -o -path "$root/proc" -o -path "$root/sys" \) -prune -o "$@"; }
each \( -type f -o -type d \) -perm /6000 -exec chmod ug-s {} +
each \( -type f -o -type d \) ! -perm -0444 -exec chmod a+r {} +
each -type d ! -perm -0111 -exec chmod a+x {} +
each ! \( -type f -o -type d -o -type l \) -exec rm -f {} +
