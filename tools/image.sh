#!/usr/bin/env bash
# Builds the image with docker, or with podman where docker does not work, or with what ENGINE names.
#
#   tools/image.sh engine                 prints which of the two works
#   tools/image.sh build TAG [OPTION ...] builds the image; options are those of `docker build`
#   tools/image.sh base                   podman only: pulls the base image, or makes a stand-in for it
#
# If no image registry can be reached, podman builds on a stand-in for the base image: a minimal
# Debian 12 with this machine's CPython 3.11 in the same places as in the official image.
set -euo pipefail
cd "$(dirname "$0")/.."

base=docker.io/library/python:3.11-slim-bookworm
certificates=/etc/ssl/certs/ca-certificates.crt
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

fail() {
    echo "error: $*" >&2
    exit 1
}

engine() {
    if [[ -n ${ENGINE:-} ]]; then
        echo "$ENGINE"
    elif timeout 20 docker info >"$scratch/docker" 2>&1; then
        echo docker
    elif timeout 20 podman info >"$scratch/podman" 2>&1; then
        echo podman
    else
        fail "neither docker nor podman works here: $(tail -n 1 "$scratch/docker") $(tail -n 1 "$scratch/podman")"
    fi
}

# What the official image has beside Debian's minimum: the libraries that CPython's extension modules
# load, and three packages.
libraries=usr-is-merged,ca-certificates,netbase,tzdata,libssl3,libffi8,libsqlite3-0,zlib1g,libbz2-1.0,liblzma5
libraries+=,libreadline8,libncursesw6,libuuid1,libexpat1,libdb5.3,libgdbm6,libnsl2,libtirpc3
# What Debian's slim images leave out.
slim=(--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright')
for folder in groff info linda lintian locale man; do
    slim+=(--dpkgopt="path-exclude=/usr/share/$folder/*")
done

stand_in() {
    [[ $(id -u) == 0 ]] || fail "$base cannot be pulled, and only root can make a stand-in"
    command -v mmdebstrap >/dev/null ||
        fail "$base cannot be pulled; to make a stand-in, install it with: apt-get install mmdebstrap"
    local python root=$scratch/root sources=/etc/apt/sources.list
    python=$(command -v python3.11) || fail "the stand-in for $base needs python3.11"
    [[ -s $sources ]] || sources=/etc/apt/sources.list.d/debian.sources
    echo "making a stand-in for $base" >&2
    # The new root's packages are fetched with this machine's apt proxies and certificates.
    apt-config dump --format '%F "%v";%n' Acquire::http Acquire::https >"$scratch/apt.conf"
    # shellcheck disable=SC2016  # mmdebstrap gives the hook its $1
    mmdebstrap --quiet --variant=minbase "--include=$libraries" "--aptopt=$scratch/apt.conf" \
        "${slim[@]}" --customize-hook='chroot "$1" apt-get purge --quiet=2 --auto-remove usrmerge "perl-modules*"' \
        bookworm "$root" "$sources" >"$scratch/mmdebstrap" 2>&1 || fail "mmdebstrap: $(tail "$scratch/mmdebstrap")"
    local prefix
    prefix=$("$python" -c 'import sys; print(sys.base_prefix)')
    # The official image contains neither tests nor byte code nor static libraries.
    (cd "$prefix" && tar --create --exclude=site-packages --exclude=test --exclude=tests \
        --exclude=idle_test --exclude=__pycache__ --exclude='libpython*.a' \
        bin/python3 bin/python3.11 lib) |
        tar --extract --directory "$root/usr/local"
    # And it is stripped.
    if command -v strip >/dev/null; then
        find "$root/usr/local/lib" -name '*.so*' -type f -exec strip --strip-unneeded {} +
    fi
    chroot "$root" sh -c 'ldconfig && ln -sf python3 /usr/local/bin/python &&
        PYTHONDONTWRITEBYTECODE=1 python3 -m ensurepip && ln -sf pip3 /usr/local/bin/pip' \
        >"$scratch/ensurepip" 2>&1 || fail "ensurepip: $(tail -n 3 "$scratch/ensurepip")"
    find "$root/usr/local" -name __pycache__ -prune -exec rm -rf {} +
    tar --create --directory "$root" . | podman import - "$base" >&2
}

ensure_base() {
    podman image exists "$base" || timeout 120 podman pull --quiet "$base" 2>"$scratch/pull" ||
        stand_in
}

build_with_podman() {
    ensure_base >&2
    local mounts=()
    if [[ -f $certificates && ! -L $certificates ]]; then
        # If a proxy re-signs traffic, pip must trust this machine's certificates. They are mounted
        # for the build and do not become part of the image.
        printf '[global]\ncert = %s\n' "$certificates" >"$scratch/pip.conf"
        mounts=(-v /etc/ssl/certs:/etc/ssl/certs:ro -v "$scratch/pip.conf:/etc/pip.conf:ro")
    fi
    # chroot isolation works inside a container that may not start another one.
    podman build --isolation chroot --network host ${mounts[@]+"${mounts[@]}"} "$@" .
}

case ${1:-} in
engine) engine ;;
base) ensure_base ;;
build)
    tag=${2:?give the tag of the image}
    options=(--tag "$tag" "${@:3}")
    engine=$(engine)
    if [[ $engine == docker ]]; then
        docker build "${options[@]}" .
    else
        build_with_podman "${options[@]}"
    fi
    bytes=$("$engine" image inspect --format '{{.Size}}' "$tag")
    echo "$tag: $((bytes / 1000000)) MB"
    ;;
*) fail "usage: tools/image.sh engine | base | build TAG [OPTION ...]" ;;
esac
