# syntax=docker/dockerfile:1
# The gateway, the worker and the voice server: one image, the command says which.

FROM python:3.11-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python -m venv /opt/seiketsu
COPY requirements/run.txt requirements/run.txt
# Source packages are built with the pinned setuptools, installed before all others.
RUN sed -n '/^setuptools==/,/[^\\]$/p' requirements/run.txt >build.txt \
    && /opt/seiketsu/bin/pip install --require-hashes -r build.txt \
    && /opt/seiketsu/bin/pip install --require-hashes --no-build-isolation -r requirements/run.txt
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY requirements/run.in requirements/run.in
COPY core core
COPY gateway gateway
COPY workers workers
COPY benchmarks benchmarks
RUN /opt/seiketsu/bin/pip install --no-deps --no-build-isolation . \
    && /opt/seiketsu/bin/pip uninstall --yes pip setuptools

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="Seiketsu Voice" \
      org.opencontainers.image.licenses="Apache-2.0" \
      container-studio.service="seiketsu-voice" \
      container-studio.tier="gateway"
RUN useradd --system --uid 10001 --home-dir /data --create-home seiketsu \
    && install -d -o seiketsu -m 0700 /run/seiketsu
COPY --from=build /opt/seiketsu /opt/seiketsu
ENV PATH=/opt/seiketsu/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    ORT_DISABLE_TELEMETRY=1 \
    SEIKETSU_HOST=0.0.0.0 \
    SEIKETSU_DATA_DIR=/data \
    SEIKETSU_VOICE_SOCKET=/run/seiketsu/voices.sock
USER seiketsu
WORKDIR /data
VOLUME ["/data", "/run/seiketsu"]
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ.get(\"SEIKETSU_PORT\", \"8000\")}/health/ready', timeout=2)"]
CMD ["seiketsu", "serve"]
