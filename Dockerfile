# A machine with an NVIDIA GPU: the page with nvdiffrast's rasteriser and the learned plugs.
#   docker build -t v2m4 .
#   docker run --gpus all -p 7860:7860 -v v2m4-weights:/weights v2m4
# nvdiffrast (non-commercial licence) is compiled here, which needs nvcc; the Space does without it.
FROM nvidia/cuda:13.0.1-devel-ubuntu24.04

RUN apt-get update && apt-get install -y --no-install-recommends \
        build-essential ffmpeg git ninja-build python3 python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH

WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY v2m4 v2m4
RUN pip install --no-cache-dir -c constraints.txt ".[ui,learned]" setuptools wheel
# Turing to Blackwell; the GPU need not be present while building.
ARG NVDIFFRAST=v0.4.0
RUN TORCH_CUDA_ARCH_LIST="7.5;8.0;8.6;8.9;9.0;12.0+PTX" pip install --no-cache-dir --no-build-isolation \
        "git+https://github.com/NVlabs/nvdiffrast@${NVDIFFRAST}"

COPY app.py ./
COPY assets assets
ENV HF_HOME=/weights GRADIO_SERVER_NAME=0.0.0.0 GRADIO_SERVER_PORT=7860 GRADIO_ANALYTICS_ENABLED=False
EXPOSE 7860
CMD ["python", "app.py"]
