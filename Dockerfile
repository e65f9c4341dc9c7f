# The base is named in full, because podman resolves no short names. It goes by its tag and not by
# a digest: the action is built anew on each run, and so takes the security updates of Debian and
# CPython without waiting for a release of ours. What we add is locked by hash.
FROM docker.io/library/python:3.11-slim-bookworm AS build

# Byte code for everything, the standard library included: the base ships none, and a container
# starts fresh each time, so without it every run would compile each module it imports.
# unchecked-hash: valid whatever the dates of the files become on the way through the layers.
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

FROM docker.io/library/python:3.11-slim-bookworm

LABEL org.opencontainers.image.title="Blankly deploy" \
      org.opencontainers.image.description="Deploys and backtests Blankly trading models from a commit" \
      org.opencontainers.image.source="https://github.com/blankly-community/deploy-action" \
      org.opencontainers.image.licenses="MIT"

# The action installs nothing into itself.
RUN rm -rf /usr/local/bin/pip* /usr/local/bin/wheel \
        /usr/local/lib/python3.11/site-packages/* /usr/local/lib/python3.11/ensurepip
COPY --from=build /install /usr/local

# For the processes that the action starts; the action itself has the same as flags, below.
ENV LANG=C.UTF-8 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

# No USER: the runner's mounts belong to root. Exec form: a shell would drop the variables with
# hyphens (INPUT_MODEL-PATH) and swallow the signals of a cancelled job.
# -I: a PYTHONPATH or PYTHONHOME in a workflow's `env` reaches this container too.
ENTRYPOINT ["python", "-I", "-u", "-B", "/usr/local/lib/blankly-deploy/entrypoint.py"]
