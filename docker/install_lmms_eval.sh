#!/usr/bin/env bash
# Installs lmms-eval, which `utr evaluate` runs, into an environment of its own: it wants an older av and its own wandb.
# torch and transformers are this package's, so that a checkpoint is read there as it is here. 2 GB.
#
#   docker/install_lmms_eval.sh PYTHON
#   TORCH_INDEX=URL    where torch comes from; empty: pip's own index
set -euo pipefail

python=${1:-}
if ! [ -x "$python" ]; then
    echo "install_lmms_eval.sh: '$python' is no interpreter: docker/install_lmms_eval.sh PYTHON" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
pins=()
for name in torch transformers; do
    pins+=("$(grep -o "\"$name==[0-9.]*\"" "$here/../pyproject.toml" | head -n 1 | tr -d '"')")
done

pip() {
    "$python" -m pip install --disable-pip-version-check --quiet -c "$here/constraints_lmms.txt" "${pins[@]}" "$@"
}

if [ -n "${TORCH_INDEX:-}" ]; then
    pip --index-url "$TORCH_INDEX" torchvision
fi
pip lmms-eval torchvision filelock decord
"$python" -c 'import importlib.metadata; print("lmms-eval", importlib.metadata.version("lmms-eval"))'
