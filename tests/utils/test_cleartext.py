"""What goes over the network as it is, and who is told of it."""

from __future__ import annotations

import logging

import pytest

from vicc_ray.datasets import object_storage
from vicc_ray.datasets.object_storage import RemotePath
from vicc_ray.utils.cleartext import is_cleartext


@pytest.mark.parametrize(
    ("address", "in_clear"),
    [
        ("http://head.example:8265", True),
        ("HTTP://10.0.0.1:8265", True),
        ("http://127.0.0.1.example", True),
        ("http://localhost@head.example", True),
        ("http://0.0.0.0:8265", True),
        ("http://127.0.0.1:8265", False),
        ("http://127.0.0.2:8265", False),
        ("http://localhost:8265", False),
        ("http://[::1]:8265", False),
        ("https://head.example", False),
        ("", False),
    ],
)
def test_only_http_to_another_host_is_cleartext(address: str, in_clear: bool) -> None:
    assert is_cleartext(address) == in_clear


@pytest.mark.parametrize(
    ("query", "variable", "told"),
    [
        ("?scheme=http&endpoint_override=store.invalid:9000&region=r", None, True),
        ("?endpoint_override=store.invalid:9000&region=r", None, False),
        ("?scheme=http&endpoint_override=127.0.0.1:1&region=r", None, False),
        ("?region=r", "http://store.invalid:9000", True),
        ("?region=r", "https://store.invalid:9000", False),
        ("?region=r", None, False),
    ],
)
def test_an_unencrypted_bucket_is_reported_once_without_its_secret(
    query: str, variable: str | None, told: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv("AWS_ENDPOINT_URL", variable)
    object_storage._file_system.cache_clear()
    place = RemotePath(f"s3://key:secret@bucket/videos{query}")
    with caplog.at_level(logging.WARNING, "vicc_ray"):
        for patient in (False, True):
            place._open(patient)
    assert len(caplog.records) == told
    assert ("bucket" in caplog.text) == told and "secret" not in caplog.text
    object_storage._file_system.cache_clear()
