"""Videos and lists in object storage, with a local S3 server."""

from __future__ import annotations

import re
import socket
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from tests.s3 import BUCKET, S3, s3_server
from vicc_ray.datasets import list_videos
from vicc_ray.datasets.locations import as_json, files_in, from_json, local_file, location_of, read, size_and_mtime
from vicc_ray.datasets.object_storage import CHUNK, RemotePath, UnreadableFileError
from vicc_ray.errors import UserError


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with s3_server() as server:
        yield server


def test_a_bucket_is_listed_like_a_folder(s3: S3) -> None:
    names = ["a/deep/x.webm", "b/2.MP4", "top.mkv", "a/ü 50%?#.mp4"]
    for name in [*names, "a/notes.txt", "a/.hidden.mp4", ".git/y.mp4"]:
        s3.put(f"plain/{name}")
    for address in (s3.address("plain"), s3.address("plain/")):
        inputs = list_videos(address)
        assert [(i.id, i.label) for i in inputs.items] == [
            (n, n.split("/")[0] if "/" in n else "") for n in sorted(names)
        ]
        for item in inputs.items:
            assert size_and_mtime(item.location) == (1, pytest.approx(time.time_ns(), abs=600e9))
            with local_file(from_json(as_json(item.location))) as copy:
                assert copy.read_bytes() == b"x"
    assert {i.id for i in list_videos(s3.address()).items} >= {f"plain/{name}" for name in names}


def test_manifests_and_lists_can_be_in_the_bucket(s3: S3) -> None:
    s3.put("own/labels.jsonl", b'{"path": "1.mp4", "split": "train"}\n{"path": "gone.mp4"}\n')
    s3.put("own/1.mp4")
    s3.put("own/2.mp4")
    inputs = list_videos(s3.address("own"))
    assert [(i.id, i.split, size_and_mtime(i.location) is None) for i in inputs.items] == [
        ("1.mp4", "train", False),
        ("gone.mp4", "", True),
    ]
    assert inputs.unlisted == 1
    assert list_videos(s3.address("own"), s3.address("own/labels.jsonl")) == inputs
    s3.put("lists/pick_test_split1.txt", b"1.mp4 2 \n")
    assert files_in(location_of(s3.address("lists"))) == ["pick_test_split1.txt"]
    (item,) = list_videos(s3.address("own"), s3.address("lists")).items
    assert (item.id, item.split, str(item.location)) == (
        "pick/1.mp4",
        "test",
        str(location_of(s3.address("own/1.mp4"))),
    )


def test_a_downloaded_copy_is_complete_and_removed_even_after_an_error(s3: S3) -> None:
    content = bytes(range(256)) * (CHUNK // 200)  # more than one piece
    s3.put("large/x.mp4", content)
    (item,) = list_videos(s3.address("large")).items
    with suppress(KeyError), local_file(item.location) as copy:
        assert copy.read_bytes() == content
        raise KeyError
    assert not copy.exists()


def test_a_file_removed_since_the_listing_is_unreadable(
    s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    s3.put("short/x.mp4")
    (item,) = list_videos(s3.address("short")).items
    s3.client.delete_object(Bucket=BUCKET, Key="short/x.mp4")
    for location in (item.location, location_of(s3.address("short/never.mp4"))):
        with pytest.raises(UnreadableFileError, match="^no such file$"), local_file(location):
            pass
    assert list(tmp_path.iterdir()) == []


def test_the_endpoint_can_come_from_the_environment(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    s3.put("environment/x.mp4")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{s3.endpoint}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    (item,) = list_videos(f"s3://{BUCKET}/environment").items
    assert read(item.location) == b"x"


def problem(address: str) -> str:
    """Message for an invalid address, which must come soon and be one line without the secret."""
    start = time.monotonic()
    with pytest.raises(UserError) as error:
        list_videos(address)
    assert time.monotonic() - start < 40  # about 10 on an idle machine
    assert not re.search(r"\n|secret", str(error.value))
    return str(error.value)


def test_unreachable_addresses_are_reported_in_one_line(s3: S3) -> None:
    assert "NO_SUCH_BUCKET" in problem(s3.address("x", bucket="no-such-bucket"))
    assert f"s3://{BUCKET}/nothing/here?scheme=http" in problem(s3.address("nothing/here"))
    assert "Unrecognized filesystem type" in problem("xyz://key:secret@bucket/x")
    assert "Unexpected query parameter in S3 URI: 'color'" in problem(s3.address("x") + "&color=red")


@pytest.mark.slow
def test_addresses_without_an_answer_fail_soon() -> None:
    """S3 and GCS that refuse connections, and an endpoint that accepts but never answers; in parallel, to save time."""
    with socket.socket() as bound, socket.socket() as silent, ThreadPoolExecutor() as threads:
        bound.bind(("127.0.0.1", 0))
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)
        refused, mute = (f"scheme=http&endpoint_override=127.0.0.1:{it.getsockname()[1]}" for it in (bound, silent))
        addresses = [
            f"s3://key:secret@bucket/x?{refused}",
            f"gs://anonymous@bucket/x?{refused}",
            f"s3://key:secret@bucket/x?{mute}&region=us-east-1",
        ]
        of_s3, of_gcs, of_silent = threads.map(problem, addresses)
    for message in (of_s3, of_gcs):
        assert "Could not connect to server" in message
        assert "AWS_ENDPOINT_URL" in message
    assert "Timeout was reached" in of_silent


def test_the_text_of_a_remote_path_has_no_secret() -> None:
    location = RemotePath("s3://key:secret@bucket/videos/?region=r", "a/1.mp4")
    assert str(location) == "s3://bucket/videos/a/1.mp4?region=r"


@pytest.mark.parametrize(
    "folder", ["a b", "ü", "50% off", "#tag", "[x] {y}|^`", "plus+&=", 'quote"<>\\', "%2", "a@b:c"]
)
def test_an_address_need_not_be_percent_encoded(s3: S3, folder: str) -> None:
    s3.put(f"written/{folder}/x/1.mp4")
    s3.put(f"written/{folder}/labels.csv", b"path,label\nx/1.mp4,walk\n")
    for name in (folder, f"{folder}/"):
        inputs = list_videos(s3.address(f"written/{name}"), s3.address(f"written/{folder}/labels.csv"))
        assert [(item.id, item.label) for item in inputs.items] == [("x/1.mp4", "walk")]
    with local_file(inputs.items[0].location) as copy:
        assert copy.read_bytes() == b"x"


def test_an_address_can_be_percent_encoded_and_its_secret_need_not_be(s3: S3) -> None:
    s3.put("escaped/a ?b/1.mp4")
    for secret in ("se/cr+et=", "se%2Fcr%2Bet%3D"):
        address = s3.address("escaped/a%20%3Fb").replace(":secret@", f":{secret}@")
        (item,) = list_videos(address).items
        assert item.id == "1.mp4"
        assert secret not in str(item.location)
        assert secret not in problem(address.replace("escaped", "gone"))


def test_the_message_for_an_invalid_address_says_how_to_encode_it(s3: S3) -> None:
    assert "%3F" in problem(s3.address("what?/x"))


def test_a_bucket_is_matched_in_both_unicode_forms(s3: S3) -> None:
    written, there = "Caf\u00e9", "Cafe\u0301"
    s3.put(f"forms/{there}/{there}.mp4")
    s3.put("forms/labels.csv", f"path\n{written}/{written}.mp4\n".encode())
    (item,) = list_videos(s3.address("forms")).items
    assert (item.label, size_and_mtime(item.location) is None) == (written, False)
