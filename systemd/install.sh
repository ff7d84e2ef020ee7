#!/bin/sh
# Installs lab2mqtt as a systemd service, or updates it; run as root from a checkout (docs/systemd.md).
#
#   systemd/install.sh              one bridge: lab2mqtt.service, /etc/lab2mqtt/lab2mqtt.toml
#   systemd/install.sh --name hall  one of several: lab2mqtt@hall.service, /etc/lab2mqtt/hall.toml
#   systemd/install.sh --remove     the program and its units; configuration and measured data stay
#
# It changes /opt/lab2mqtt, /etc/lab2mqtt and units in /etc/systemd/system, and nothing else. A second run installs
# the checkout beside what runs, switches over, and restarts what was running.
set -eu
umask 022 # the service's user reads what root installs
export LC_ALL=C

top=$(CDPATH='' cd "$(dirname "$0")/.." && pwd -P)
cd / # Python imports from where it is started, which may be anybody's directory
opt=/opt/lab2mqtt etc=/etc/lab2mqtt units=/etc/systemd/system

say() { printf 'install: %s\n' "$*"; }
fail() { printf 'install: %s\n' "$*" >&2; exit 1; }

name='' remove=''
while [ $# -gt 0 ]; do
    case $1 in
        --name) name=${2:?--name needs a name}; shift ;;
        --remove) remove=1 ;;
        *) sed -n '2,7s/^# \{0,1\}//p' "$top/systemd/install.sh"; exit 64 ;;
    esac
    shift
done
case $name in *[!a-z0-9_]*) fail "--name takes lower-case letters, digits and underscores" ;; esac
unit=lab2mqtt${name:+@$name}.service
[ "$(id -u)" = 0 ] || fail "run this as root"
exec 9<"$units"
flock -n 9 || fail "another run of this script is under way"

if [ -n "$remove" ]; then
    systemctl disable --now 'lab2mqtt@*.service' lab2mqtt.service 2>/dev/null || true
    rm -rf "$units"/lab2mqtt.service "$units"/lab2mqtt@.service "$units"/lab2mqtt*.service.d "$opt"
    systemctl daemon-reload
    say "removed; $etc and the data below /var/lib are still there"
    exit 0
fi

# --- the program: a release of its own, and `current` points to it --------------------------------------

python3 -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    fail "Python 3.11 or newer with venv is needed: apt install python3-venv"
version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' "$top/bridge/__init__.py")
stamp=$(cd "$top" && { readlink -f "$(command -v python3)"; find bridge docs pyproject.toml requirements/run.txt -type f \
    ! -name '*.pyc' -exec cksum {} + | sort; } | cksum)
if [ "$(cat "$opt/current/stamp" 2>/dev/null)" = "$stamp" ]; then
    say "$version of this checkout is installed already"
else
    release=$opt/releases/$version-$(date -u +%Y%m%dT%H%M%SZ)
    before=$(readlink -f "$opt/current" || true)
    say "installing $version to $release"
    mkdir -p "$opt/releases"
    build=$(mktemp -d)
    trap 'rm -rf "$release" "$build"' EXIT
    trap 'exit 1' HUP INT TERM
    python3 -m venv "$release"
    "$release/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r "$top/requirements/run.txt"
    (cd "$top" && cp -R bridge pyproject.toml README.md LICENSE "$build") # nothing is written to the checkout
    "$release/bin/pip" install --quiet --disable-pip-version-check --no-deps --no-build-isolation "$build"
    mkdir -p "$release/share/doc"
    cp -R "$top/docs" "$release/share/doc/lab2mqtt"
    "$release/bin/lab2mqtt" --version >/dev/null
    printf '%s\n' "$stamp" >"$release/stamp"
    trap 'rm -rf "$build"' EXIT
    ln -sfn "$release" "$opt/current.new" && mv -T "$opt/current.new" "$opt/current"
    trap - EXIT HUP INT TERM
    rm -rf "$build"
    for old in "$opt/releases"/*; do
        case ${old##*/} in
            "${release##*/}" | "${before##*/}") ;; # what ran until now stays, to go back to
            *) rm -rf "$old" ;;
        esac
    done
fi

# --- the units and their secrets -------------------------------------------------------------------------

configuration=$etc/${name:-lab2mqtt}.toml credentials=$etc/credentials${name:+/$name}
install -d -m 755 "$etc"
install -d -m 700 "$etc/credentials" "$credentials"
install -m 644 "$top/systemd/lab2mqtt.service" "$top/systemd/lab2mqtt@.service" "$units"
install -d -m 755 "$units/$unit.d"
{
    echo "# Made by install.sh from $credentials; run it again after a change there."
    echo "[Service]"
    for secret in "$credentials"/*; do
        case ${secret##*/} in
            *[!A-Za-z0-9_.-]*) [ ! -f "$secret" ] || say "$secret is no name of a secret: left out" >&2 ;;
            *) [ ! -f "$secret" ] || echo "LoadCredential=${secret##*/}:$secret" ;;
        esac
    done
} >"$units/$unit.d/credentials.conf"
systemctl daemon-reload
if [ ! -e "$configuration" ]; then
    install -m 644 "$top/config/lab2mqtt.example.toml" "$configuration"
    say "edit $configuration (an example is there now) and put secrets into $credentials, then run this again"
    exit 0
fi
LAB2MQTT_BRIDGE__STATE_DIR=/var/lib/lab2mqtt${name:+-$name} CREDENTIALS_DIRECTORY=$credentials "$opt/current/bin/lab2mqtt" check -c "$configuration" >/dev/null ||
    fail "$configuration is not right yet: $unit is left as it was"
systemctl enable --quiet "$unit"
for running in $(systemctl list-units --no-legend --plain --state=active 'lab2mqtt*.service' | cut -d' ' -f1) "$unit"; do
    systemctl restart "$running"
done
say "$unit: $(systemctl is-active "$unit"); see systemctl status $unit"
