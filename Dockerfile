# The base image is an argument: any with glibc, Python 3.11 or later, its `venv`, and certificates. Debian 12 with the packages
# `python3`, `python3-venv` and `ca-certificates` works as well as the default. Of it, the image has Python and the libraries that
# Python loads: no shell, no package manager.
ARG BASE_IMAGE=docker.io/library/python:3.12-slim-bookworm

FROM ${BASE_IMAGE} AS build
# Without a package index: --build-arg PIP_NO_INDEX=1 --build-arg PIP_FIND_LINKS=/wheels, and a folder of wheels there.
# pip reads both from the environment, and takes an empty one for none.
ARG PIP_NO_INDEX=
ARG PIP_FIND_LINKS=
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
# Wheels only, so that no stage needs a compiler. Without numpy: the image stays small, and scans tell the numbers of weights as not
# checked; --build-arg REQUIREMENTS=requirements/scan.txt brings it. Without the Kubernetes client (the extra `plugin`): in a pod nothing needs a kubeconfig.
ARG REQUIREMENTS=requirements/runtime.txt
COPY requirements/runtime.txt requirements/scan.txt requirements/
RUN python3 -m venv /opt/lastgood \
 && /opt/lastgood/bin/pip install --no-compile --no-deps --require-hashes --only-binary :all: -r "${REQUIREMENTS}" \
 && /opt/lastgood/bin/pip check
COPY deploy/build-requirements.txt deploy/build-requirements.txt
RUN python3 -m venv /opt/build \
 && /opt/build/bin/pip install --no-deps --require-hashes --only-binary :all: -r deploy/build-requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY operator operator
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /dist . \
 && /opt/lastgood/bin/pip install --no-compile --no-deps --no-index /dist/*.whl \
 && /opt/lastgood/bin/python -m pip uninstall --yes pip \
 && rm -rf /opt/lastgood/lib/python3*/site-packages/setuptools* /opt/lastgood/lib/python3*/site-packages/pkg_resources \
           /opt/lastgood/lib/python3*/site-packages/_distutils_hack /opt/lastgood/lib/python3*/site-packages/distutils-precedence.pth \
           /opt/lastgood/bin/kubectl-lastgood
# Everything of ours is imported once: that it can be, and what it imports is compiled. What nobody imports would be a sixth of the
# image more.
RUN /opt/lastgood/bin/python -c "import importlib, lastgood, pkgutil; \
    [importlib.import_module(found.name) for found in pkgutil.walk_packages(lastgood.__path__, 'lastgood.') \
     if not found.name.endswith('.__main__')]"
COPY deploy/image_root.py deploy/image_root.py
RUN python3 deploy/image_root.py /opt/lastgood /root-of-image

FROM scratch
LABEL org.opencontainers.image.title="lastgood" \
      org.opencontainers.image.description="Brings a served machine-learning model back to its last known-good snapshot" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/lastgood/lastgood"
COPY --from=build /root-of-image /
# The root is read-only in the cluster: nothing is written next to the code.
ENV PATH=/opt/lastgood/bin:/usr/local/bin:/usr/bin:/bin PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp
USER 65532:65532
WORKDIR /tmp
# It starts; and sources of checkpoints are asked by https: without anybody to trust, each of them would be refused.
RUN ["lastgood", "--version"]
RUN ["python3", "-c", "import ssl, sys; paths = ssl.get_default_verify_paths(); sys.exit(not (paths.cafile or paths.capath))"]
EXPOSE 8080
ENTRYPOINT ["lastgood"]
CMD ["run"]
