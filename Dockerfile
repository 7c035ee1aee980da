# mcsr for machines without Python: docker build -t mcsr .
#
#   docker run --rm -v "$PWD:/data" --user "$(id -u):$(id -g)" mcsr enhance /data/T2.nii.gz -o /data/out
FROM python:3.11-slim AS wheel
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps -w /dist .

FROM python:3.11-slim
# for a GPU: ARG TORCH_INDEX=https://pypi.org/simple, whose build has CUDA, and docker run --gpus all
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY constraints.txt /tmp/constraints.txt
RUN pip install --no-cache-dir -c /tmp/constraints.txt --index-url "$TORCH_INDEX" torch
COPY --from=wheel /dist /tmp/dist
RUN pip install --no-cache-dir -c /tmp/constraints.txt /tmp/dist/*.whl \
    && rm -r /tmp/dist /tmp/constraints.txt
# caches of libraries, for whoever runs it
ENV HOME=/tmp MPLCONFIGDIR=/tmp
WORKDIR /data
USER 1000
ENTRYPOINT ["mcsr"]
CMD ["--help"]
