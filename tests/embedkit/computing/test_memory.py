import os

import pytest

from embedkit.computing import memory
from embedkit.errors import EmbedkitError


@pytest.mark.parametrize(
    ("meminfo", "cgroup", "expected"),
    [
        ("MemTotal: 9 kB\nMemAvailable:   3 kB\n", "max\n", 3072),
        ("MemAvailable:   3 kB\n", "2000\n", 2000),
        ("MemAvailable:\n", "max", None),
        (None, None, None),
    ],
)
def test_memory_is_what_the_kernel_and_the_container_leave(meminfo, cgroup, expected, tmp_path, monkeypatch):
    for name, text in (("MEMINFO", meminfo), ("CGROUP", cgroup)):
        monkeypatch.setattr(memory, name, tmp_path / name)
        if text is not None:
            (tmp_path / name).write_text(text)
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert memory.available() == (physical if expected is None else expected)


def test_what_does_not_fit_is_refused_with_the_fix(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 10**9)
    memory.check_memory(10**9, "Images", "Fewer.")
    with pytest.raises(EmbedkitError, match=r"Images need 3\.0 GB of memory, and 1\.0 GB are free\. Fewer\."):
        memory.check_memory(3 * 10**9, "Images", "Fewer.")
