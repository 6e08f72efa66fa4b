# Two images of the harness with the packages of requirements.lock:
#
#   docker build --target cpu -t harness:cpu .
#   docker build --target cuda -t harness:cuda .
#   docker run --rm -v "$PWD:/work" harness:cpu compare --dataset cifar100-lt
#   docker run --rm --gpus all -v "$PWD:/work" harness:cuda compare --dataset cifar100-lt --device cuda
#
# PyTorch's wheels bring CUDA with them, so both start from the same image; the host needs a driver.
# The digest is that of the tag 3.12-slim for all platforms.
FROM python:3.12-slim@sha256:78387bc3881b8273120a12ebe6c1ab22b018ccc2c9adf565ae1ac9b536e184ea AS base
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /opt/harness
COPY requirements.lock ./

FROM base AS cpu-packages
RUN pip install --extra-index-url https://download.pytorch.org/whl/cpu -r requirements.lock

FROM base AS cuda-packages
RUN pip install -r requirements.lock

FROM cpu-packages AS cpu
COPY . .
RUN pip install --no-deps --no-build-isolation . \
    && useradd --create-home --uid 1000 harness \
    && install --directory --owner harness /work
USER 1000
WORKDIR /work
ENV OMP_NUM_THREADS=1
ENTRYPOINT ["harness"]
CMD ["--help"]

FROM cuda-packages AS cuda
COPY . .
RUN pip install --no-deps --no-build-isolation . \
    && useradd --create-home --uid 1000 harness \
    && install --directory --owner harness /work
USER 1000
WORKDIR /work
ENV OMP_NUM_THREADS=1 NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
ENTRYPOINT ["harness"]
CMD ["--help"]
