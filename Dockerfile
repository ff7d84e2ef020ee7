# The locked dependencies and the package go into a virtual environment in the first stage; the second takes only that.
FROM python:3.12-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
WORKDIR /src
COPY requirements/run.txt requirements/run.txt
RUN /opt/venv/bin/pip install --require-hashes --only-binary :all: -r requirements/run.txt
COPY pyproject.toml README.md LICENSE ./
COPY bridge bridge
RUN /opt/venv/bin/pip install --no-deps --no-build-isolation .

FROM python:3.12-slim-bookworm
LABEL org.opencontainers.image.title="lab2mqtt" \
      org.opencontainers.image.description="A bridge between laboratory instruments with WebSocket APIs and MQTT" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 OPENBLAS_NUM_THREADS=1
USER 10001
ENTRYPOINT ["lab2mqtt"]
CMD ["run", "-c", "/config/lab2mqtt.toml"]
