# The base image has its full name, because podman does not resolve short names. It is referenced by
# tag, not by digest: each build, and so each release, gets the security updates of Debian and CPython
# up to its day. The packages that we add are locked by hash.
FROM docker.io/library/python:3.11-slim-bookworm AS build

# Python as it is, for models need all of its library, without what cannot run here (no display, no
# pip), and with byte code: the base image has none, so each new container would compile every module.
# unchecked-hash: stays valid if the files' dates change between layers.
WORKDIR /python/lib/python3.11
RUN cp -a /usr/local/lib /python/ \
    && rm -rf site-packages/* ensurepip idlelib tkinter turtle.py turtledemo \
        lib-dynload/_test*.so lib-dynload/_ctypes_test*.so lib-dynload/xxlimited*.so \
        lib-dynload/_tkinter*.so \
    && mkdir /python/bin \
    && cp -a /usr/local/bin/python* /python/bin/ \
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash \
        -s /python -p /usr/local -x '/lib2to3/' /python/lib/python3.11

# Our requirements; only uv is needed as a command. PyYAML's C library (2.4 MB) serves loaders that
# the action does not use: its own is made from the one in Python. Of dulwich, its commands and
# the C library that finds differences of trees (2.2 MB) are not used.
COPY requirements.lock /build/
RUN pip install --quiet --no-cache-dir --no-compile --disable-pip-version-check \
        --root-user-action=ignore --require-hashes --only-binary=:all: \
        --target=/packages/lib/python3.11/site-packages -r /build/requirements.lock \
    && mkdir -p /uv/bin \
    && mv /packages/lib/python3.11/site-packages/bin/uv /uv/bin/uv \
    && rm -r /packages/lib/python3.11/site-packages/bin \
    && rm /packages/lib/python3.11/site-packages/yaml/_yaml.*.so \
    && rm -r /packages/lib/python3.11/site-packages/dulwich/cli.py \
        /packages/lib/python3.11/site-packages/dulwich/porcelain \
        /packages/lib/python3.11/site-packages/dulwich/_diff_tree.*.so \
    && find /packages -type d '(' -name tests -o -name benchmarks ')' -prune -exec rm -r {} + \
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash \
        -s /packages -p /usr/local /packages/lib/python3.11/site-packages

COPY deploy_action /program/lib/python3.11/site-packages/deploy_action
COPY entrypoint.py /program/lib/blankly-deploy/entrypoint.py
RUN mkdir /program/bin \
    && printf '%s\n' '#!/usr/local/bin/python -I' \
        'import sys' 'from deploy_action.main import console' 'sys.exit(console())' \
        > /program/bin/blankly-deploy \
    && chmod 755 /program/bin/blankly-deploy \
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash \
        -s /program -p /usr/local /program/lib/python3.11/site-packages

# --------------------------------------------------------------------------- the server

# `docker build --target server`: an image that runs `blankly-deploy serve`; see docs/server.md.
FROM docker.io/library/python:3.11-slim-bookworm AS server-packages

COPY requirements-server.lock /build/
RUN pip install --quiet --no-cache-dir --no-compile --disable-pip-version-check \
        --root-user-action=ignore --require-hashes --only-binary=:all: \
        --target=/server/lib/python3.11/site-packages -r /build/requirements-server.lock

# Without what the action has, too.
FROM build AS build-server

COPY --from=server-packages /server /server
RUN for path in /packages/lib/python3.11/site-packages/*; do \
        rm -rf "/server/lib/python3.11/site-packages/${path##*/}"; \
    done \
    && rm -rf /server/lib/python3.11/site-packages/bin \
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash \
        -s /server -p /usr/local /server/lib/python3.11/site-packages

# All of Debian, so that an image made from it can install a library that a model needs.
FROM docker.io/library/python:3.11-slim-bookworm AS debian

RUN rm -rf /usr/local/bin /usr/local/lib

FROM scratch AS server

# From `scratch`, for a layer can hide files of the base image and not remove them.
# hadolint ignore=DL3067
COPY --from=debian / /
COPY --from=build /python /usr/local
COPY --from=build /uv /usr/local
COPY --from=build /packages /usr/local
COPY --from=build-server /server /usr/local
COPY --from=build /program /usr/local

# Everything that it keeps is in one volume, so that uv can link the files of its cache.
ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin \
    LANG=C.UTF-8 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    UV_CACHE_DIR=/var/lib/blankly/uv
VOLUME /var/lib/blankly
EXPOSE 9080

# Root, so that each model gets a user of its own. The address is that of the container's network.
ENTRYPOINT ["blankly-deploy"]
CMD ["serve", "--host", "0.0.0.0", "--data", "/var/lib/blankly/data"]

# --------------------------------------------------------------------------- the action

# Debian without what installs packages, changes users or mounts disks: a third of its bytes, all of
# its setuid programs, and nothing that Python or a model's wheels load. The list of the packages that
# are left, for scanners, stays, without what only dpkg reads (3 MB). Three steps: what is removed runs scripts of what is removed later.
FROM docker.io/library/python:3.11-slim-bookworm AS small-debian

RUN purge() { dpkg --purge --force-all "$@" > /tmp/purged 2>&1 || { cat /tmp/purged; exit 1; }; } \
    && purge e2fsprogs libpam-modules libpam-modules-bin libpam-runtime libpam0g login logsave mount \
        passwd util-linux util-linux-extra \
    && purge adduser apt bsdutils debian-archive-keyring gpgv init-system-helpers libapt-pkg6.0 \
        libaudit-common libaudit1 libblkid1 libcap-ng0 libext2fs2 libgcrypt20 libgnutls30 \
        libgpg-error0 libhogweed6 libidn2-0 libmount1 libnettle8 libp11-kit0 libseccomp2 \
        libsemanage-common libsemanage2 libsepol2 libsmartcols1 libss2 libsystemd0 libtasn1-6 \
        libudev1 libunistring2 libxxhash0 sysvinit-utils usr-is-merged \
    && purge debconf perl-base \
    && purge dpkg \
    && rm -rf /tmp/purged /var/lib/dpkg/info /var/lib/dpkg/status-old /usr/local/bin /usr/local/lib

# The last one, which is built where none is named.
FROM scratch

LABEL org.opencontainers.image.title="Blankly deploy" \
      org.opencontainers.image.description="Deploys and backtests Blankly trading models from a commit" \
      org.opencontainers.image.source="https://github.com/blankly-community/deploy-action" \
      org.opencontainers.image.licenses="MIT"

# Layers of similar sizes are fetched at once; those in front stay the same for longer.
# hadolint ignore=DL3067
COPY --from=small-debian / /
COPY --from=build /python /usr/local
COPY --from=build /uv /usr/local
COPY --from=build /packages /usr/local
COPY --from=build /program /usr/local

# For child processes; the action itself gets the same settings as flags, below.
ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin \
    LANG=C.UTF-8 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

# No USER: the runner's mounts belong to root, and root gives each model a user of its own. Exec form:
# a shell would drop the variables with hyphens (INPUT_MODEL-PATH) and swallow the signals of a
# cancelled job.
# -I: ignore PYTHONPATH and PYTHONHOME, which a workflow's `env` passes to this container, too.
ENTRYPOINT ["python", "-I", "-u", "-B", "/usr/local/lib/blankly-deploy/entrypoint.py"]
