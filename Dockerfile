# The base image has its full name, because podman does not resolve short names. It is referenced by
# tag, not by digest: the action is built on each run, and so gets security updates of Debian and
# CPython without a release of ours. The packages that we add are locked by hash.
FROM docker.io/library/python:3.11-slim-bookworm AS build

# Compile everything, including the standard library: the base image has no byte code, so each new
# container would compile every module that it imports.
# unchecked-hash: stays valid if the files' dates change between layers.
WORKDIR /usr/local/lib/python3.11
RUN python -m compileall -q -j 0 --invalidation-mode unchecked-hash \
        -x '/(site-packages|idlelib|lib2to3|ensurepip|turtledemo|tkinter)/' "$PWD" \
    && mkdir -p /install/bin /install/lib/python3.11 \
    && find . -path ./site-packages -prune -o -name '*.pyc' \
        -exec cp --parents --target-directory=/install/lib/python3.11 {} + \
    && printf '%s\n' '#!/usr/local/bin/python -I' \
        'import sys' 'from deploy_action.main import console' 'sys.exit(console())' \
        > /install/bin/blankly-deploy \
    && chmod 755 /install/bin/blankly-deploy

COPY requirements.lock /build/
RUN pip install --quiet --no-cache-dir --no-compile --disable-pip-version-check \
        --root-user-action=ignore --require-hashes --only-binary=:all: \
        --target=/install/lib/python3.11/site-packages -r /build/requirements.lock \
    && mv /install/lib/python3.11/site-packages/bin/uv /install/bin/uv \
    && rm -r /install/lib/python3.11/site-packages/bin \
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash \
        -s /install -p /usr/local /install/lib/python3.11/site-packages

COPY deploy_action /install/lib/python3.11/site-packages/deploy_action
COPY entrypoint.py /install/lib/blankly-deploy/entrypoint.py
RUN python -m compileall -q -j 0 --invalidation-mode unchecked-hash \
        -s /install -p /usr/local /install/lib/python3.11/site-packages/deploy_action

FROM docker.io/library/python:3.11-slim-bookworm AS program

LABEL org.opencontainers.image.title="Blankly deploy" \
      org.opencontainers.image.description="Deploys and backtests Blankly trading models from a commit" \
      org.opencontainers.image.source="https://github.com/blankly-community/deploy-action" \
      org.opencontainers.image.licenses="MIT"

# The action never installs packages into its own Python, so pip is removed.
RUN rm -rf /usr/local/bin/pip* /usr/local/bin/wheel \
        /usr/local/lib/python3.11/site-packages/* /usr/local/lib/python3.11/ensurepip
COPY --from=build /install /usr/local

# For child processes; the action itself gets the same settings as flags, below.
ENV LANG=C.UTF-8 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

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
RUN for path in /install/lib/python3.11/site-packages/*; do \
        rm -rf "/server/lib/python3.11/site-packages/${path##*/}"; \
    done \
    && rm -rf /server/lib/python3.11/site-packages/bin \
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash \
        -s /server -p /usr/local /server/lib/python3.11/site-packages

FROM program AS server

COPY --from=build-server /server /usr/local

# Everything that it keeps is in one volume, so that uv can link the files of its cache.
ENV UV_CACHE_DIR=/var/lib/blankly/uv
VOLUME /var/lib/blankly
EXPOSE 9080

# Root, so that each model gets a user of its own. The address is that of the container's network.
ENTRYPOINT ["blankly-deploy"]
CMD ["serve", "--host", "0.0.0.0", "--data", "/var/lib/blankly/data"]

# --------------------------------------------------------------------------- the action

# The last one, which is built where none is named.
FROM program

# No USER: the runner's mounts belong to root. Exec form: a shell would drop the variables with
# hyphens (INPUT_MODEL-PATH) and swallow the signals of a cancelled job.
# -I: ignore PYTHONPATH and PYTHONHOME, which a workflow's `env` passes to this container, too.
ENTRYPOINT ["python", "-I", "-u", "-B", "/usr/local/lib/blankly-deploy/entrypoint.py"]
