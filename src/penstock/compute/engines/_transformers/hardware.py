"""What this machine computes with: device, number format, free memory."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch

from penstock.compute.engines._options import BadOption

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Hardware:
    """`free_bytes` is what the model and its cache may take on the device."""

    device: str
    free_bytes: int

    @property
    def is_cpu(self) -> bool:
        return self.device == "cpu"


def find(wanted: str) -> Hardware:
    """`auto`: the CUDA device with most free memory, else Apple's, else the CPU. Raises BadOption for one that is not there."""
    kind = wanted.partition(":")[0]
    if wanted == "auto":
        wanted = _best()
    elif (kind == "cuda" and not torch.cuda.is_available()) or (kind == "mps" and not torch.backends.mps.is_available()):
        raise BadOption(f"device is {wanted!r}, but torch sees no such device here; leave it out to take what there is")
    elif kind not in {"cuda", "mps", "cpu"}:
        raise BadOption(f"device must be auto, cpu, cuda, cuda:N or mps, not {wanted!r}")
    return Hardware(wanted, _free_bytes(wanted))


def dtype(wanted: str, stored: str, weights_as_float32: int, hardware: Hardware) -> str:
    """The name of the number format to compute in. `stored` is the checkpoint's own, `weights_as_float32` bytes.

    On a CPU float32 is fastest where it fits; else what the checkpoint has, where the device can do it.

    Raises BadOption for a format that is not known.
    """
    if wanted != "auto":
        if wanted not in DTYPES:
            raise BadOption(f"dtype must be auto, {', '.join(DTYPES)}, not {wanted!r}")
        return wanted
    if hardware.is_cpu:
        return "float32" if weights_as_float32 * 1.5 < hardware.free_bytes else "bfloat16"
    if stored == "bfloat16" and hardware.device.startswith("cuda") and not torch.cuda.is_bf16_supported():
        return "float16"
    return stored if stored in DTYPES else "float16"


def _best() -> str:
    if torch.cuda.is_available():
        return f"cuda:{max(range(torch.cuda.device_count()), key=lambda number: torch.cuda.mem_get_info(number)[0])}"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _free_bytes(device: str) -> int:
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(torch.device(device).index or 0)[0])
    if device == "mps":
        return int(torch.mps.recommended_max_memory())
    return _free_main_memory()


def _free_main_memory() -> int:
    """What Linux calls available, within the limit of this process's control group; elsewhere half of what the machine has."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        available = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    return min(available, _group_room(Path("/sys/fs/cgroup")))


def _group_room(group: Path) -> int:
    try:
        return int((group / "memory.max").read_text("ascii")) - int((group / "memory.current").read_text("ascii"))
    except (OSError, ValueError):
        return 1 << 62
