#!/bin/sh
# Builds a Debian package: build.sh WHEEL PAGES STAGE OUT
#
#   WHEEL  of tdbwatch         STAGE  a folder for the tree that is packed; made anew
#   PAGES  what pages.py made  OUT    the folder for the package
#
# It has a virtual environment of its own in /usr/lib/tdbwatch, on the Python of the Debian that it is built on. The same
# sources and SOURCE_DATE_EPOCH make the same package, bit by bit.
set -eu
wheel=$1 pages=$2 stage=$3 out=$4
here=$(dirname "$0")
root=$(cd "$here/../.." && pwd)
python=${DEB_PYTHON:-/usr/bin/python3}
pip="${PIP_PYTHON:-$python} -m pip --disable-pip-version-check --quiet --no-input"
home=/usr/lib/tdbwatch
: "${SOURCE_DATE_EPOCH:?is not set}"
export SOURCE_DATE_EPOCH
umask 022

minor=$("$python" -c 'import sys; assert sys.version_info >= (3, 11), "needs Python 3.11"; print(sys.version_info.minor)')
version=$(basename "$wheel" | cut -d- -f2)-1
maintainer=$(sed -n 's/^Maintainer: //p' "$here/control")
arch=$(dpkg --print-architecture)

rm -rf "$stage"
mkdir -p "$stage$home" "$out"

# -- the program -------------------------------------------------------------------------------------------------------
"$python" -m venv --without-pip "$stage$home"
$pip --python "$stage$home/bin/python3" install --no-compile --no-warn-script-location \
  --constraint "$root/constraints.txt" "tdbwatch[${DEB_EXTRAS:-ed25519,zstd,completions,otel}] @ file://$(realpath "$wheel")"
site=$stage$home/lib/python3.$minor/site-packages
# No path of this machine, no script of another package, nothing that differs from build to build.
rm -rf "$stage$home"/bin/[Aa]ctivate* "$site"/*.dist-info/direct_url.json "$site"/*.dist-info/RECORD
rm -rf "$stage$home/include" "$stage$home/lib64" "$site"/*/tests
find "$stage$home/bin" -type f ! -name tdbwatch -delete
sed -i "1s|.*|#!$home/bin/python3|" "$stage$home/bin/tdbwatch"
sed -i "/^command = /d" "$stage$home/pyvenv.cfg"
find "$site" -name '*.so*' -type f -exec strip --strip-unneeded {} +
"$python" -m compileall -q -s "$stage" -p / --invalidation-mode unchecked-hash "$site"

# -- beside it ---------------------------------------------------------------------------------------------------------
mkdir -p "$stage/usr/bin" "$stage/usr/share/doc" "$stage/etc/tdbwatch"
ln -s ../lib/tdbwatch/bin/tdbwatch "$stage/usr/bin/tdbwatch"
mv "$stage$home/share/doc/tdbwatch" "$stage/usr/share/doc/tdbwatch"
rm -rf "$stage$home/share"
install -m 0644 "$here/tdbwatch.yaml" "$stage/etc/tdbwatch/"
install -d -m 0700 "$stage/etc/tdbwatch/credentials"
doc=$stage/usr/share/doc/tdbwatch
rm -rf "$doc/LICENSE" "$doc/systemd"
install -m 0644 "$here/copyright" "$doc/"
printf 'tdbwatch (%s) unstable; urgency=medium\n\n  * See CHANGELOG.md.\n\n -- %s  %s\n' "$version" "$maintainer" \
  "$(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")" | gzip -9n > "$doc/changelog.Debian.gz"

units=$stage/usr/lib/systemd/system
mkdir -p "$units"
for unit in tdbwatch.service tdbwatch@.service; do
  sed -f "$here/units.sed" "$root/systemd/$unit" > "$units/$unit"
done

install -D -m 0644 "$pages/tdbwatch.bash" "$stage/usr/share/bash-completion/completions/tdbwatch"
install -D -m 0644 "$pages/_tdbwatch" "$stage/usr/share/zsh/vendor-completions/_tdbwatch"
install -D -m 0644 "$pages/tdbwatch.fish" "$stage/usr/share/fish/vendor_completions.d/tdbwatch.fish"
mkdir -p "$stage/usr/share/man/man1" "$stage/usr/share/lintian/overrides"
gzip -9n < "$pages/tdbwatch.1" > "$stage/usr/share/man/man1/tdbwatch.1.gz"
install -m 0644 "$here/lintian-overrides" "$stage/usr/share/lintian/overrides/tdbwatch"

# -- the package -------------------------------------------------------------------------------------------------------
mkdir "$stage/DEBIAN"
sed -e "s/@VERSION@/$version/" -e "s/@ARCH@/$arch/" -e "s/@MINOR@/$minor/" -e "s/@NEXT@/$((minor + 1))/" \
  -e "s/@SIZE@/$(du -sk --apparent-size --exclude=DEBIAN "$stage" | cut -f1)/" "$here/control" > "$stage/DEBIAN/control"
echo /etc/tdbwatch/tdbwatch.yaml > "$stage/DEBIAN/conffiles"
for script in postinst prerm postrm; do
  install -m 0755 "$here/$script" "$stage/DEBIAN/$script"
done
(cd "$stage" && find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum) > "$stage/DEBIAN/md5sums"
find "$stage" -newermt "@$SOURCE_DATE_EPOCH" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
chmod -R u=rwX,go=rX "$stage/usr"
dpkg-deb --root-owner-group -Zxz --build "$stage" "$out/tdbwatch_${version}_$arch.deb"
