#!/usr/bin/env bash
# The steps of .github/workflows/release.yml. Each may be run again: it then comes to the same end, or
# changes nothing and says why.
#
#   tools/release.sh check                  is HEAD a release that is not made yet? prints version=X.Y.Z
#   tools/release.sh push VERSION ARCH      builds this machine's image and pushes it; IMAGE names it
#   tools/release.sh index VERSION          joins both images; prints their digests, for GITHUB_OUTPUT
#   tools/release.sh name-image REFERENCE   lets action.yml use an image instead of the Dockerfile
#   tools/release.sh tag VERSION REFERENCE  commits that, and pushes vX.Y.Z and vX, or neither
#   tools/release.sh notes VERSION          prints the changelog's entry
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    echo "error: $*" >&2
    exit 1
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

check() {
    local version
    version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' deploy_action/__init__.py)
    [[ $version =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]] ||
        fail "'$version' in deploy_action/__init__.py is no version such as 1.2.3"
    [[ ${GITHUB_REF:-} == refs/heads/main ]] || fail "releases are made from main, not ${GITHUB_REF:-}"
    grep --quiet --extended-regexp "^## \[${version//./\\.}\] - [0-9]{4}-[0-9]{2}-[0-9]{2}$" CHANGELOG.md ||
        fail "CHANGELOG.md has no line '## [$version] - YYYY-MM-DD'"
    if [[ -n $(git ls-remote --tags origin "refs/tags/v$version") ]]; then
        fail "v$version is tagged already. If its run did not end well, re-run its failed jobs;" \
            "for another release, raise __version__"
    fi
    echo "version=$version"
}

push() {
    local name=$IMAGE:$1-$2
    ENGINE=podman tools/image.sh build "$name" --label "org.opencontainers.image.version=$1" \
        --label "org.opencontainers.image.revision=$(git rev-parse HEAD)"
    podman push --quiet "$name"
}

index() {
    local list=$IMAGE:$1 architecture
    ! podman manifest exists "$list" || podman manifest rm "$list" >&2
    podman manifest create "$list" >&2
    for architecture in amd64 arm64; do
        podman manifest add "$list" "docker://$list-$architecture" >&2
    done
    podman manifest push --all --quiet --digestfile "$scratch/digest" "$list" "docker://$list" >&2
    podman manifest inspect "$IMAGE@$(<"$scratch/digest")" >"$scratch/index"
    for architecture in amd64 arm64; do
        jq --exit-status --raw-output --arg name "$IMAGE" --arg architecture "$architecture" \
            '[.manifests[] | select(.platform.architecture == $architecture).digest]
            | select(length == 1) | "\($architecture)=\($name)@\(.[0])"' \
            "$scratch/index" || fail "there is not one image for $architecture in $list"
    done
    echo "digest=$(<"$scratch/digest")"
    echo "reference=$IMAGE@$(<"$scratch/digest")"
}

named() {
    [[ $1 =~ ^[a-z0-9.:/_-]+@sha256:[0-9a-f]{64}$ ]] || fail "'$1' names no image by its digest"
    [[ $(grep --count '^  image: Dockerfile$' action.yml) == 1 ]] ||
        fail "action.yml has not one line '  image: Dockerfile'"
    sed "s|^  image: Dockerfile$|  image: docker://$1|" action.yml
}

name_image() {
    named "$1" >"$scratch/action.yml"
    cp "$scratch/action.yml" action.yml
}

# The same commit for the same HEAD and image: its dates and its author are those of HEAD.
release_commit() {
    local changed tree who when
    changed=$(named "$2" | git hash-object -w --stdin)
    export GIT_INDEX_FILE=$scratch/index
    git read-tree HEAD
    git update-index --cacheinfo "100644,$changed,action.yml"
    tree=$(git write-tree)
    unset GIT_INDEX_FILE
    when=$(git log -1 --format=%cI)
    who="github-actions[bot]"
    export GIT_AUTHOR_NAME=$who GIT_COMMITTER_NAME=$who GIT_AUTHOR_DATE=$when GIT_COMMITTER_DATE=$when
    export GIT_AUTHOR_EMAIL=41898282+$who@users.noreply.github.com
    export GIT_COMMITTER_EMAIL=$GIT_AUTHOR_EMAIL
    git commit-tree "$tree" -p HEAD -m "Release v$1" -m "action.yml names the image of its parent."
}

tag() {
    local version=v$1 major=v${1%%.*} commit there newest refs
    commit=$(set -e; release_commit "$1" "$2") # a substitution does not inherit it
    git ls-remote --refs --tags origin >"$scratch/tags"
    there=$(awk -v ref="refs/tags/$version" '$2 == ref { print $1 }' "$scratch/tags")
    [[ -z $there || $there == "$commit" ]] ||
        fail "$version is there already, with another image or of another commit; nothing was changed"
    newest=$({ echo "$version"; sed -n "s|.*refs/tags/\($major\.[0-9]*\.[0-9]*\)$|\1|p" "$scratch/tags"; } |
        sort --version-sort | tail -n 1)
    refs=("$commit:refs/tags/$version")
    if [[ $newest == "$version" ]]; then
        # With a lease: a release of somebody else in this second is not undone.
        there=$(awk -v ref="refs/tags/$major" '$2 == ref { print $1 }' "$scratch/tags")
        refs=("--force-with-lease=refs/tags/$major:$there" origin "${refs[@]}" "$commit:refs/tags/$major")
    else
        echo "$major stays where it is, at $newest"
        refs=(origin "${refs[@]}")
    fi
    git push --atomic "${refs[@]}" || fail "nothing was tagged. If GitHub refused it because of workflows:" \
        "those on main changed during this run, and a workflow may not push what it is not itself." \
        "Run the release again, from main as it is now"
}

notes() {
    awk -v version="[$1]" '$1 == "##" { on = $2 == version; next } on' CHANGELOG.md
}

case ${1:-} in
check) check ;;
push) push "${2:?version}" "${3:?architecture}" ;;
index) index "${2:?version}" ;;
name-image) name_image "${2:?image}" ;;
tag) tag "${2:?version}" "${3:?image}" ;;
notes) notes "${2:?version}" ;;
*) fail "usage: tools/release.sh check | push | index | name-image | tag | notes" ;;
esac
