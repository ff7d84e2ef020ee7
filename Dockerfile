# Two stages: the first builds the wheel and a virtual environment from the locked requirements, the second takes only
# that environment. docs/docker.md tells how to run it, to pin the base by its digest, and to add drivers of your own.
ARG PYTHON_IMAGE=python:3.13.16-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
# pip stays outside the environment; the build backend is taken out of it again.
RUN python -m venv --without-pip /opt/venv
WORKDIR /src
COPY requirements/run.txt requirements/run.txt
RUN pip --python /opt/venv install --require-hashes --only-binary :all: -r requirements/run.txt
COPY pyproject.toml README.md LICENSE ./
COPY bridge bridge
RUN pip --python /opt/venv wheel --no-deps --no-build-isolation --wheel-dir /dist . \
 && pip --python /opt/venv install --no-deps /dist/*.whl \
 && pip --python /opt/venv uninstall -y hatchling packaging pathspec pluggy tomlkit trove-classifiers \
 && mkdir /empty

FROM ${PYTHON_IMAGE}
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    OPENBLAS_NUM_THREADS=1 \
    RUNTIME_DIRECTORY=/run/lab2mqtt \
    LAB2MQTT_BRIDGE__STATE_DIR=/var/lib/lab2mqtt
# The base brings the standard library without bytecode, and a read-only root keeps none: every start would compile it
# anew (0.5 s, and 0.2 s for each health check). What these two import is compiled here, once.
RUN lab2mqtt schema > /dev/null \
 && python -c "import bridge.app, bridge.cli.run, bridge.drivers.evok, bridge.drivers.im7, numpy"
# A new volume takes its owner from the directory that it covers.
COPY --from=build --chown=10001:10001 /empty /var/lib/lab2mqtt
COPY --from=build --chown=10001:10001 /empty /run/lab2mqtt
ARG PYTHON_IMAGE
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="lab2mqtt" \
      org.opencontainers.image.description="A trusted bridge between laboratory instruments with WebSocket APIs and MQTT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${PYTHON_IMAGE}"
USER 10001:10001
HEALTHCHECK --interval=15s --timeout=10s --start-period=30s --retries=2 CMD ["lab2mqtt", "health"]
ENTRYPOINT ["lab2mqtt"]
CMD ["run", "-c", "/config/lab2mqtt.toml"]
