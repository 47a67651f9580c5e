#!/usr/bin/env bash
# Build both images of this commit: with Docker, or with buildah where no Docker engine runs.
set -euo pipefail
cd "$(dirname "$0")/.."
commit=$(git rev-parse HEAD)
if docker info >/dev/null 2>&1; then
  build=(docker build)
elif command -v buildah >/dev/null; then
  # Works inside a container as well, where neither overlays nor namespaces can be made.
  export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot
  build=(buildah bud --pull-never)
else
  echo "error: a running Docker engine or buildah is needed" >&2
  exit 2
fi
"${build[@]}" --build-arg "GIT_COMMIT=$commit" -t housecast-api -f Dockerfile .
"${build[@]}" --build-arg "GIT_COMMIT=$commit" -t housecast-dashboard -f Dockerfile.streamlit .
