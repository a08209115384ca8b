"""Allowed containers, and the reasons for refusing a file."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from tests.odd_videos import (
    scrambled,
    write_both_tracks,
    write_encrypted,
    write_encrypted_asf,
    write_encrypted_matroska,
    write_stream,
    write_with_clear_lead,
    write_with_cover,
    write_with_sound,
)
from tests.videos import moving, write_video
from vicc_ray.datasets import list_videos
from vicc_ray.video.containers import CONTAINERS
from vicc_ray.video.decode import VideoError, decode_video

FRAMES = moving(20, 64, 96)
READ = [
    ("gif", "gif", "rgb8", None),
    ("apng", "apng", "rgb24", "apng"),
    ("y4m", "rawvideo", "yuv420p", "yuv4mpegpipe"),
    ("mjpeg", "mjpeg", "yuvj420p", "mjpeg"),
    ("obu", "libsvtav1", "yuv420p", "obu"),
    ("swf", "flv", "yuv420p", "swf"),
    ("roq", "roqvideo", "yuvj444p", "roq"),
]
OTHER_FILES = [
    ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nsecret.mp4\n#EXT-X-ENDLIST\n", "hls"),
    ("list.mp4", "ffconcat version 1.0\nfile secret.mp4\n", "concat"),
    ("talk.mp4", "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n", "sdp"),
    ("words.mp4", "1\n00:00:00,000 --> 00:00:01,000\nhello\n\n2\n00:00:01,000 --> 00:00:02,000\nyou\n", "srt"),
]


def frames(source: Path | bytes) -> int:
    return len(decode_video(source, short_side=None, max_frames=1000, timeout_s=60).frames)


def reason(source: Path | bytes) -> str:
    with pytest.raises(VideoError) as caught:
        frames(source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("suffix", "codec", "pix_fmt", "form"), READ)
def test_animations_raw_streams_and_games_are_read(
    tmp_path: Path, suffix: str, codec: str, pix_fmt: str, form: str | None
) -> None:
    path = write_stream(tmp_path / f"a.{suffix}", FRAMES, codec, pix_fmt=pix_fmt, form=form)
    assert frames(path) == len(FRAMES)
    assert frames(path.read_bytes()) == len(FRAMES)


@pytest.mark.parametrize("suffix", ["264", "265", "h264", "h265", "hevc", "m2v", "y4m", "mjpeg", "obu", "gif", "apng"])
def test_raw_streams_and_animations_count_as_videos_of_a_folder(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a.{suffix}").touch()
    assert [item.id for item in list_videos(tmp_path, None, 1).items] == [f"a.{suffix}"]


@pytest.mark.parametrize(("name", "text", "form"), OTHER_FILES)
def test_a_file_that_is_not_a_video_is_named_each_time(tmp_path: Path, name: str, text: str, form: str) -> None:
    write_video(tmp_path / "secret.mp4", FRAMES)
    (tmp_path / name).write_text(text)
    for _ in range(2):  # FFmpeg logs repeated messages only once
        assert form in reason(tmp_path / name)
        assert "Invalid argument" not in reason(tmp_path / name)
    assert av.logging.get_level() is None  # the logging settings are restored


def test_an_image_is_called_one() -> None:
    for suffix in (".png", ".jpg", ".webp"):
        assert "image" in reason(bytes(cv2.imencode(suffix, FRAMES[0])[1]))


def test_no_demuxer_that_opens_other_files_is_allowed() -> None:
    opening = (
        "concat concatf dash hls imf image2 mlv rtp rtsp sap sdp vobsub webm_dash_manifest lavfi avisynth vapoursynth"
    )
    assert CONTAINERS.isdisjoint(opening.split())


def test_encryption_that_the_container_declares_is_reported(tmp_path: Path) -> None:
    assert reason(write_encrypted(tmp_path / "a.mp4", FRAMES)) == "encrypted"
    assert reason(write_encrypted_matroska(tmp_path / "a.mkv", FRAMES)) == "encrypted"
    assert reason(write_encrypted_asf(tmp_path / "a.wmv", FRAMES)) == "encrypted"


@pytest.mark.parametrize("lead", [1, 2, 3])
def test_frames_before_the_encrypted_ones_are_kept(tmp_path: Path, lead: int) -> None:
    film = moving(60, 64, 96)
    path = write_with_clear_lead(tmp_path / "a.mp4", film, lead)
    kept = decode_video(path, short_side=None, max_frames=1000, timeout_s=60).frames
    assert len(kept) == 20 * lead
    assert np.abs(kept.astype(int) - film[: 20 * lead]).mean() < 12


def test_one_frame_before_the_encrypted_ones_is_not_a_video(tmp_path: Path) -> None:
    assert reason(write_with_clear_lead(tmp_path / "a.mp4", FRAMES, 0)) == "encrypted"
    assert reason(write_with_clear_lead(tmp_path / "b.mp4", FRAMES, 1, each="frag_every_frame")) == "encrypted"
    assert frames(write_with_clear_lead(tmp_path / "c.mp4", FRAMES, 5, each="frag_every_frame")) >= 2


@pytest.mark.parametrize("tag", [b"encv", b"drmi"])
def test_an_encrypted_track_type_is_reported(tmp_path: Path, tag: bytes) -> None:
    data = write_video(tmp_path / "a.mp4", FRAMES).read_bytes()
    (tmp_path / "b.mp4").write_bytes(data.replace(b"avc1", tag))
    assert reason(tmp_path / "b.mp4") == "encrypted"
    assert reason((tmp_path / "b.mp4").read_bytes()) == "encrypted"
    (tmp_path / "c.mp4").write_bytes(data.replace(b"avc1", b"what"))
    assert "encrypted" not in reason(tmp_path / "c.mp4")


def test_a_cover_image_does_not_hide_an_encrypted_track(tmp_path: Path) -> None:
    path = write_with_cover(tmp_path / "a.mp4", FRAMES)
    assert frames(path) == len(FRAMES)
    assert reason(path.read_bytes().replace(b"avc1", b"drmi")) == "encrypted"


def test_scrambled_broadcasts_and_discs_are_reported_as_encrypted(tmp_path: Path) -> None:
    broadcast = write_video(tmp_path / "a.ts", FRAMES)
    disc = write_stream(tmp_path / "a.vob", FRAMES, "mpeg2video", form="vob")
    for path in (broadcast, disc):
        assert frames(path) == len(FRAMES)
        assert reason(scrambled(path)) == "encrypted"
        assert reason(path.read_bytes()) == "encrypted"


def test_a_clear_stream_beside_scrambled_ones_is_decoded(tmp_path: Path) -> None:
    path = write_with_sound(tmp_path / "a.ts", FRAMES)
    assert frames(scrambled(path, pid=0x101)) == len(FRAMES)
    data = bytearray(path.read_bytes())
    foreign = b"\x47\x0f\xff\x90" + bytes(184)  # of a program that is not announced
    (tmp_path / "b.ts").write_bytes(data + foreign * (len(data) // 188))
    assert frames(tmp_path / "b.ts") == len(FRAMES)


def test_a_clear_track_beside_a_scrambled_one_is_decoded(tmp_path: Path) -> None:
    path = write_both_tracks(tmp_path / "a.ts", moving(20, 128, 128), FRAMES)
    assert decode_video(path, short_side=None, max_frames=99, timeout_s=60).frames.shape[1] == 128
    assert decode_video(scrambled(path), short_side=None, max_frames=99, timeout_s=60).frames.shape[1] == 64
    assert reason(scrambled(path, pid=0x101)) == "encrypted"


def test_a_few_damaged_flags_do_not_count_as_encryption(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.ts", np.resize(FRAMES, (100, 64, 96, 3)))
    data = bytearray(path.read_bytes())
    for packet in range(50, len(data) // 188, 50):
        data[188 * packet + 3] |= 0x80
    assert frames(bytes(data)) > 50
