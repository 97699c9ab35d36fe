"""Small real image files, and a backbone that runs in milliseconds."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from embedkit.backbones.options import BackboneSpec
from embedkit.images.options import Overrides


@pytest.fixture
def image_folder(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes n small JPEGs, in classes if asked, and gives their folder."""

    def make(n: int = 12, *, classes: int = 0, name: str = "images") -> Path:
        random = np.random.default_rng(0)
        for i in range(n):
            folder = tmp_path / name / (f"class{i % classes}" if classes else "")
            folder.mkdir(parents=True, exist_ok=True)
            pixels = random.integers(0, 255, (40, 48, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{i:04d}.jpg")
        return tmp_path / name

    return make


@pytest.fixture
def tiny() -> BackboneSpec:
    """timm's miniature ViT with random weights, at 32 px input."""
    return BackboneSpec("test_vit", random_init=0, preprocessing=Overrides(image_size=32, resize=32))


@pytest.fixture(scope="session")
def object_store() -> Iterator[Any]:
    """An S3 server on this machine; see `object_store.py`."""
    pytest.importorskip("moto", reason="moto is the object store of these tests")
    pytest.importorskip("s3fs")
    from object_store import ObjectStore

    store = ObjectStore()
    yield store
    store.close()


_BUCKETS = itertools.count()


@pytest.fixture
def bucket(object_store: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """An empty bucket, which commands find through the environment."""
    from object_store import KEY, SECRET

    from embedkit.files import remote

    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", object_store.endpoint)
    monkeypatch.setenv("EMBEDKIT_DATA", str(tmp_path / "cache"))
    monkeypatch.setattr(remote, "FIRST_WAIT_S", 0.01)
    remote._stores.clear()
    remote._blocks.clear()
    object_store.reset()
    name = f"bucket{next(_BUCKETS)}"
    object_store.client.create_bucket(Bucket=name)
    yield name
    object_store.reset()
    remote._stores.clear()
