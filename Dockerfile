# The commands of dispatchgym with the agents extra:
#     docker build -t dispatchgym .
#     docker run --rm -v "$PWD/runs:/data/runs" dispatchgym train experiment=quickstart
ARG PYTHON_VERSION=3.11

FROM python:${PYTHON_VERSION}-slim AS build
ARG EXTRAS=agents
# Further options of pip: an --extra-index-url with torch's CPU builds makes the image small.
ARG PIP_OPTIONS=
WORKDIR /source
RUN python -m venv --without-pip /opt/dispatchgym
COPY . .
RUN pip --python /opt/dispatchgym/bin/python install --no-cache-dir \
    ${PIP_OPTIONS} --constraint constraints.txt ".[${EXTRAS}]"

FROM python:${PYTHON_VERSION}-slim
RUN useradd --create-home --uid 1000 dispatchgym \
    && install --directory --owner=dispatchgym --group=dispatchgym \
        /data /data/runs /var/cache/dispatchgym
COPY --from=build /opt/dispatchgym /opt/dispatchgym
ENV PATH=/opt/dispatchgym/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    NUMBA_CACHE_DIR=/var/cache/dispatchgym/numba \
    MPLCONFIGDIR=/var/cache/dispatchgym/matplotlib
USER dispatchgym
WORKDIR /data
ENTRYPOINT ["dispatchgym"]
CMD ["--help"]
