# The API; the monthly batch is the same image with another command: `python -m src.batch.run_monthly`.
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS build
# The trees are evaluated by a small C extension.
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev python3-dev \
    && rm -rf /var/lib/apt/lists/*
RUN pip install --no-cache-dir "uv==0.13.9"
ENV UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_NO_CACHE=1 UV_PYTHON_DOWNLOADS=never UV_PYTHON=python3
WORKDIR /app
# What is installed changes less often than the code, and is a layer of its own.
COPY pyproject.toml uv.lock setup.py README.md ./
RUN uv sync --frozen --no-default-groups --extra estimators --extra postgres --extra signing --no-install-project
COPY src src
RUN uv sync --frozen --no-default-groups --extra estimators --extra postgres --extra signing

FROM ${PYTHON}
ARG GIT_COMMIT=unknown
LABEL org.opencontainers.image.title="housecast API" \
      org.opencontainers.image.description="Prices homes over HTTP and in a monthly batch" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.revision="${GIT_COMMIT}"
RUN useradd --system --uid 10001 --home-dir /cache --create-home housecast
WORKDIR /app
COPY --from=build /app/.venv .venv
COPY --from=build /app/src src
COPY configs configs
# The root file system may be read-only: what is written goes below /cache.
ENV PATH=/app/.venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 CACHE=/cache/models WORKSPACE=/cache/work TMPDIR=/cache
VOLUME /cache
USER 10001
EXPOSE 8000
# The first start fetches a model.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health/ready', timeout=2)"]
CMD ["python", "-m", "src.api.main", "--host", "0.0.0.0", "--port", "8000"]
