#!/bin/sh
# Installs a package in a bare Debian 12, tries it, removes it, and compares what is there: try.sh PACKAGE [FOLDER]
# Needs root, debootstrap and Debian's packages. FOLDER is where the Debian is made, or was made before.
set -eu
package=$(realpath "$1")
root=${2:-$(mktemp -d)}
inside() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"; }
files() { (cd "$root" && find etc usr var/lib/tdbwatch* var/log/tdbwatch* 2>/dev/null | grep -v -e /cache/ -e '^etc/.*-$' | LC_ALL=C sort); }
users() { inside getent passwd | cut -d: -f1,7; }

[ -d "$root/usr/bin" ] || debootstrap --variant=minbase bookworm "$root" > /dev/null
cp "$package" "$root/tmp/tdbwatch.deb"
inside apt-get update -qq
inside apt-get install -qq --no-install-recommends adduser python3 > /dev/null # what it depends on stays
files > "$root/tmp/before"
users > "$root/tmp/users-before"

inside apt-get install -qq --no-install-recommends /tmp/tdbwatch.deb > /dev/null
inside tdbwatch --version
inside sh -c 'CREDENTIALS_DIRECTORY=/tmp tdbwatch check --config /etc/tdbwatch/tdbwatch.yaml' || [ $? -eq 78 ] # no token yet
echo try-me-out > "$root/etc/tdbwatch/credentials/thingsdb-token"
inside sh -c 'CREDENTIALS_DIRECTORY=/etc/tdbwatch/credentials tdbwatch check --config /etc/tdbwatch/tdbwatch.yaml'
inside sh -c 'cd /tmp && tdbwatch demo --seconds 3' | tail -n 2
inside python3 -c 'import os, pwd; os.setuid(pwd.getpwnam("tdbwatch").pw_uid); print(open("/etc/tdbwatch/tdbwatch.yaml").readline().strip())'

inside apt-get remove -qq tdbwatch > /dev/null
[ -e "$root/etc/tdbwatch/tdbwatch.yaml" ] || { echo "the configuration went with the package" >&2; exit 1; }
inside apt-get purge -qq tdbwatch > /dev/null
files | diff "$root/tmp/before" - || { echo "the purge left something" >&2; exit 1; }
users | diff "$root/tmp/users-before" - || { echo "the purge left the user" >&2; exit 1; }
echo "installed, tried, removed and purged: nothing is left"
