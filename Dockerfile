# The router as a container: `make image`. Debian, because Vowpal Wabbit has no wheels for musl.
# Runs as an ordinary user on a read-only root file system; the journal lives in the volume:
#   docker run --read-only --tmpfs /tmp -v sojourn:/var/lib/sojourn -p 50051:50051 sojourn:0.1.0

FROM python:3.13-slim-trixie AS build
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PROJECT_ENVIRONMENT=/opt/sojourn UV_PYTHON_DOWNLOADS=never
RUN pip install --no-cache-dir uv==0.13.9
WORKDIR /src
# Dependencies first: this layer changes only with the lock file.
COPY pyproject.toml uv.lock ./
RUN uv sync --locked --no-cache --no-default-groups --extra server --extra postgres --extra prometheus --extra otlp-http --no-install-project
COPY README.md LICENSE ./
COPY clients/python clients/python
COPY server server
RUN uv sync --locked --no-cache --no-default-groups --extra server --extra postgres --extra prometheus --extra otlp-http --no-editable

FROM python:3.13-slim-trixie
RUN groupadd --gid 10001 sojourn \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/sojourn --shell /usr/sbin/nologin sojourn \
    && install --directory --owner=10001 --group=10001 --mode=0750 /var/lib/sojourn
COPY --from=build /opt/sojourn /opt/sojourn
ENV PATH=/opt/sojourn/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SOJOURN_JOURNAL__DIRECTORY=/var/lib/sojourn \
    SOJOURN_SERVER__ADDRESS=0.0.0.0:50051
USER 10001:10001
WORKDIR /var/lib/sojourn
VOLUME /var/lib/sojourn
EXPOSE 50051
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["sojourn", "health"]
ENTRYPOINT ["sojourn"]
CMD ["serve"]
