# Everything but the answer workers: listener, sweep, render worker, pages, migrations. No torch.
# Build it from the repository root: docker build -f docker/service.Dockerfile .

# The Python that the tests run with.
FROM python:3.11-slim-bookworm AS build
RUN python -m venv /opt/medr1
WORKDIR /build
COPY pyproject.toml README.md constraints.txt ./
COPY medr1_pacs medr1_pacs
COPY workers workers
COPY migrations migrations
RUN /opt/medr1/bin/python -m pip install --no-cache-dir --disable-pip-version-check \
    -c constraints.txt .

FROM python:3.11-slim-bookworm
# A fixed number, so that both images own the same files on shared volumes, whose folders a new
# volume takes from here together with their owner.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /tmp --shell /usr/sbin/nologin \
        medr1 \
    && install -d -o medr1 -g medr1 -m 0700 /data /key /weights /withdrawn \
    && install -d -m 0755 /site
COPY --from=build /opt/medr1 /opt/medr1
# A read-only root keeps neither bytecode nor a home.
ENV PATH=/opt/medr1/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MEDR1_DATA_DIR=/data \
    MEDR1_WEIGHTS_DIR=/weights
USER 10001:10001
# Where a site's medr1.toml is mounted, and the files that it names.
WORKDIR /site
ENTRYPOINT ["medr1-pacs"]
CMD ["doctor"]
