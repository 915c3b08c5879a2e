# Three images of one package. `api` has no torch: it is an API replica, a media or remote worker, and a
# GPU-queue worker for the animatic model. `worker` adds CUDA torch and diffusers, and `runpod` to that a
# private Redis and RunPod's SDK. What they install is in requirements/, and pip refuses a file with another hash.
# `make locks` writes it. All run as a plain user and need to write only to /data,
# /models and /tmp, so that the root file system may be read-only. ffmpeg comes in the imageio-ffmpeg wheel.

FROM python:3.11-slim@sha256:45037981b62b34b44602584fccbc4d884d5f7dc92c7ee86bb38a698a79fe1e51 AS wheel
WORKDIR /source
# By itself, so that the packages stay cached when only Phoenix changes.
COPY requirements/build.txt requirements/
RUN pip install --no-cache-dir --require-hashes --no-deps --requirement requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY migrations migrations
COPY docs docs
COPY deploy/wheel_pages.py deploy/
COPY src src
# Git is not in the build context, so that the version has to be given: --build-arg VERSION=1.2.3
ARG VERSION=
ENV SETUPTOOLS_SCM_PRETEND_VERSION=$VERSION
# The build tools are those above, and not what the index has today.
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels .

FROM python:3.11-slim@sha256:45037981b62b34b44602584fccbc4d884d5f7dc92c7ee86bb38a698a79fe1e51 AS base
ENV PATH=/opt/phoenix/bin:$PATH \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PYTHONUNBUFFERED=1 \
    PHOENIX_DATA_DIR=/data \
    HF_HOME=/models
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin phoenix \
    && mkdir /data /models \
    && chown phoenix:phoenix /data /models \
    && chmod 700 /data \
    && python -m venv /opt/phoenix
VOLUME /data
ENTRYPOINT ["phoenix"]

FROM base AS api
COPY requirements/api.txt /opt/phoenix/requirements/
RUN pip install --require-hashes --no-deps --requirement /opt/phoenix/requirements/api.txt
COPY --from=wheel /wheels /wheels
RUN pip install --no-deps /wheels/*.whl && pip check
# Of the replica itself and nothing behind it: a Redis that is away is no reason to restart replicas.
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ.get('PORT', '8080')}/health/live\", timeout=2)"]
USER phoenix
EXPOSE 8080
# Every interface of the container. PHOENIX_AUTH is then `required` unless it is set.
CMD ["api", "--host", "0.0.0.0"]

FROM base AS gpu
# `video` is for NVENC (PHOENIX_MEDIA__ENCODER).
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility,video
# Triton compiles its launchers on the machine: without a compiler a model with `compile_blocks` fails at its first clip.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
# By itself, before the package: these gigabytes stay cached when only Phoenix changes. Its wheel brings CUDA.
COPY requirements/worker.txt /opt/phoenix/requirements/
RUN pip install --require-hashes --no-deps --requirement /opt/phoenix/requirements/worker.txt
COPY --from=wheel /wheels /wheels
RUN pip install --no-deps /wheels/*.whl && pip check

# A whole Phoenix per container, for a RunPod serverless endpoint.
FROM gpu AS runpod
COPY requirements/runpod.txt /opt/phoenix/requirements/
RUN pip install --require-hashes --no-deps --requirement /opt/phoenix/requirements/runpod.txt && pip check
USER phoenix
CMD ["runpod"]

FROM gpu AS worker
VOLUME /models
USER phoenix
CMD ["worker", "--queue", "gpu"]
