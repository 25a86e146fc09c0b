# The answer workers: the service with the extra `worker` (torch, transformers), for GPU and CPU.
# Build it from the repository root: docker build -f docker/worker.Dockerfile .
#
# The base is Python's image, not nvidia/cuda: the torch that constraints.txt pins brings its own
# CUDA libraries (the nvidia-* packages), so those of a CUDA image would lie beside them unused. The
# host gives the driver, through the NVIDIA Container Toolkit: 580 or newer, as CUDA 13 asks. The
# same torch runs on a CPU. flash-attn is left out (it compiles against CUDA's sources, for an hour);
# without it attention is `sdpa`, and every answer says which it was.

# The Python that the tests run with.
FROM python:3.11-slim-bookworm AS build
RUN python -m venv /opt/medr1
WORKDIR /build
COPY pyproject.toml README.md constraints.txt ./
COPY medr1_pacs medr1_pacs
COPY workers workers
COPY migrations migrations
RUN /opt/medr1/bin/python -m pip install --no-cache-dir --disable-pip-version-check \
    -c constraints.txt ".[worker]"

FROM python:3.11-slim-bookworm
# As in service.Dockerfile: both images own the same files on shared volumes.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /tmp --shell /usr/sbin/nologin \
        medr1 \
    && install -d -o medr1 -g medr1 -m 0700 /data /key /weights /withdrawn \
    && install -d -m 0755 /site
COPY --from=build /opt/medr1 /opt/medr1
# What the NVIDIA Container Toolkit is to mount: the driver's CUDA and nvidia-smi, no graphics.
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    PATH=/opt/medr1/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MEDR1_DATA_DIR=/data \
    MEDR1_WEIGHTS_DIR=/weights
USER 10001:10001
# Where a site's medr1.toml is mounted, and the files that it names.
WORKDIR /site
ENTRYPOINT ["medr1-pacs"]
CMD ["doctor"]
