# The base image is an argument: any with Python 3.11 or later and its `venv`. Debian 12 with the packages `python3` and
# `python3-venv` and `ca-certificates` works as well as the default.
ARG BASE_IMAGE=docker.io/library/python:3.12-slim-bookworm

FROM ${BASE_IMAGE} AS build
# Without a package index: --build-arg PIP_NO_INDEX=1 --build-arg PIP_FIND_LINKS=/wheels, and a folder of wheels there.
# pip reads both from the environment, and takes an empty one for none.
ARG PIP_NO_INDEX=
ARG PIP_FIND_LINKS=
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY requirements/runtime.txt requirements/runtime.txt
# Wheels only, so that neither stage needs a compiler. Without numpy (the extra `scan`): the image stays small, and scans
# tell the numbers of weights as not checked.
RUN python3 -m venv /opt/lastgood \
 && /opt/lastgood/bin/pip install --require-hashes --only-binary :all: -r requirements/runtime.txt
COPY deploy/build-requirements.txt deploy/build-requirements.txt
RUN python3 -m venv /opt/build \
 && /opt/build/bin/pip install --require-hashes --only-binary :all: -r deploy/build-requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY operator operator
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /dist . \
 && /opt/lastgood/bin/pip install --no-deps --no-index /dist/*.whl \
 && /opt/lastgood/bin/python -m pip uninstall --yes pip \
 && rm -rf /opt/lastgood/lib/python3*/site-packages/setuptools* /opt/lastgood/lib/python3*/site-packages/pkg_resources

FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="lastgood" \
      org.opencontainers.image.description="Brings a served machine-learning model back to its last known-good snapshot" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/lastgood/lastgood"
# No pip, and nothing to make one from: what runs here installs nothing. The user has a name because getpass asks for one.
RUN rm -rf /usr/local/bin/pip* /usr/local/lib/python3*/site-packages/pip* /usr/local/lib/python3*/ensurepip \
           /usr/lib/python3*/ensurepip /usr/share/python-wheels \
 && echo 'lastgood:x:65532:65532:lastgood:/nonexistent:/usr/sbin/nologin' >> /etc/passwd \
 && echo 'lastgood:x:65532:' >> /etc/group
COPY --from=build /opt/lastgood /opt/lastgood
# The root is read-only in the cluster: nothing is written next to the code.
ENV PATH=/opt/lastgood/bin:/usr/local/bin:/usr/bin:/bin PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp
# Sources of checkpoints are asked by https: without anybody to trust, each of them would be refused.
RUN python3 -c 'import ssl, sys; paths = ssl.get_default_verify_paths(); sys.exit(not (paths.cafile or paths.capath))'
USER 65532:65532
WORKDIR /tmp
EXPOSE 8080
ENTRYPOINT ["lastgood"]
CMD ["run"]
