#!/usr/bin/env bash
# Write requirements/lock.txt anew: resolve everything in a scratch environment, then leave out what is not
# wanted (see the Makefile). Usage: requirements/relock.sh PYTHON TORCH
set -euo pipefail
cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$1" -m venv "$scratch/venv"
pip="$scratch/venv/bin/python -m pip --disable-pip-version-check"
$pip install --quiet --upgrade pip
$pip install --quiet "$2"
$pip install --quiet --group dev --editable ".[sae]" "$2"
{
  echo "# Written by requirements/relock.sh (make lock). torch is installed before this list: see the Makefile."
  $pip freeze --exclude-editable | grep -v -i -P '^(torch|torchvision|triton|nvidia-(?!ml-py)[a-z0-9-]+|cuda-[a-z0-9-]+|pip|agent-experiment-runner)(==| @)'
} > requirements/lock.txt
