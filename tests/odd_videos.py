"""Irregular video files as they occur in practice: changed, inserted or missing bytes."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition
from numpy.typing import NDArray

from tests.videos import write_video

Frames = NDArray[np.uint8]


def write_stream(
    path: Path,
    frames: Frames,
    codec: str,
    *,
    fps: int = 25,
    every: int = 1,
    pix_fmt: str = "yuv420p",
    form: str | None = None,
    **options: str,
) -> Path:
    """Write RGB frames uint8 [T, H, W, 3] in any container with any codec.

    Args:
        fps: the rate that the container tells.
        every: ticks of that rate from one frame to the next.
        form: FFmpeg's name of the container, where the suffix does not tell.
        options: of the codec.
    """
    with av.open(str(path), "w", format=form) as container:
        stream = container.add_stream(codec, rate=fps, options=options)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], pix_fmt
        for t, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = t * every, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_photos(path: Path, frames: Frames, orientation: int) -> Path:
    """Write a video of JPEGs with the EXIF data of cameras in each: here the orientation."""
    tag = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + tag + bytes(4)
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25, options={"qmin": "1", "qmax": "2"})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuvj444p"
        for image in frames:
            for packet in stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")):
                photo = av.Packet(b"\xff\xd8" + segment + bytes(packet)[2:])
                photo.stream, photo.pts, photo.dts = stream, packet.pts, packet.dts
                photo.time_base, photo.is_keyframe = packet.time_base, True
                container.mux(photo)
    return path


def write_with_sound(path: Path, frames: Frames, *, fps: int = 25) -> Path:
    """Write frames as H.264 with a tone of the same duration."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=fps, options={"preset": "veryfast"})
        video.height, video.width, video.pix_fmt = *frames.shape[1:3], "yuv420p"
        audio = container.add_stream("aac" if path.suffix == ".mp4" else "mp2", rate=16000, layout="mono")
        each = 16000 // fps
        for t, image in enumerate(frames):
            container.mux(video.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
            wave = np.sin(np.arange(t * each, (t + 1) * each) * 0.1).astype(np.float32)[None]
            sound = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
            sound.sample_rate, sound.pts, sound.time_base = 16000, t * each, Fraction(1, 16000)
            if path.suffix != ".mp4":
                sound = av.AudioResampler("s16", "mono", 16000).resample(sound)[0]
            container.mux(audio.encode(sound))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    return path


def write_with_cover(path: Path, frames: Frames) -> Path:
    """Write a video with its first frame as the cover image, as shops and phones do."""
    film = write_video(path.with_name("film.mp4"), frames)
    with av.open(str(film)) as source, av.open(str(path), "w") as out:
        video = out.add_stream_from_template(source.streams.video[0])
        cover = out.add_stream("mjpeg", rate=1)
        cover.height, cover.width, cover.pix_fmt = *frames.shape[1:3], "yuvj420p"
        cover.disposition = Disposition.attached_pic
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = video
                out.mux(packet)
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frames[0]), format="rgb24")
        out.mux(cover.encode(picture.reformat(format="yuvj420p")))
        out.mux(cover.encode(None))
    return path


def with_sound_behind_the_end(path: Path) -> Path:
    """Change the sample table of an MP4 file so that the second half of the audio is beyond the end of the file."""
    data = bytearray(path.read_bytes())
    table = data.index(b"stco", data.index(b"soun"))
    count = int.from_bytes(data[table + 8 : table + 12], "big")
    for n in range(count // 2, count):
        data[table + 12 + 4 * n : table + 16 + 4 * n] = (len(data) + 10**6 + n).to_bytes(4, "big")
    path.write_bytes(data)
    return path


def write_two_tracks(path: Path, frames: Frames, empty: int = 1, lost: int = 0) -> Path:
    """Write a file whose first ``empty`` video tracks have no packets; the last one has the frames.

    Of its packets the first ``lost`` ones are not there.
    """
    film = write_video(path.with_name("second.mp4"), frames)
    with av.open(str(film)) as source, av.open(str(path), "w") as out:
        for _ in range(empty):
            out.add_stream_from_template(source.streams.video[0])
        second = out.add_stream_from_template(source.streams.video[0])
        for packet in [packet for packet in source.demux(video=0) if packet.dts is not None][lost:]:
            packet.stream = second
            out.mux(packet)
    return path


def write_both_tracks(path: Path, first: Frames, second: Frames) -> Path:
    """Write a file of two video tracks."""
    films = [write_video(path.with_name(f"track-{n}.mp4"), frames) for n, frames in enumerate((first, second))]
    return without_first_packet(films[0], path, second=films[1], lost=0)


def without_first_packet(source: Path, path: Path, *, second: Path | None = None, lost: int = 1) -> Path:
    """Copy a video without its first packet; optionally with a complete second video track.

    A source of Matroska has no decoding times, which the copy needs of H.264.
    """
    with av.open(str(source)) as damaged, av.open(str(second or source)) as whole, av.open(str(path), "w") as out:
        pairs = [(damaged, lost), (whole, 0)][: 2 if second else 1]
        streams = [out.add_stream_from_template(container.streams.video[0]) for container, _ in pairs]
        for stream, (container, missing) in zip(streams, pairs, strict=True):
            packets = [packet for packet in container.demux(video=0) if packet.size]
            for packet in packets[missing:]:
                packet.stream = stream
                out.mux(packet)
    return path


def write_encrypted(path: Path, frames: Frames, **options: str) -> Path:
    """Write an MP4 file with Common Encryption and options of the container."""
    keys = {"encryption_key": "00112233445566778899aabbccddeeff", "encryption_kid": "0123456789abcdef0123456789abcdef"}
    film = write_stream(path.with_name("clear.mp4"), frames, "libx264", g="20", preset="veryfast")
    return _packaged(film, path, {"encryption_scheme": "cenc-aes-ctr", **keys, **options})


def write_with_clear_lead(path: Path, frames: Frames, lead: int, *, each: str = "frag_keyframe") -> Path:
    """Write an MP4 file in fragments, the first ``lead`` of them clear, the others encrypted.

    Args:
        each: FFmpeg's name of what begins a fragment; each 20th frame is a key frame.
    """
    fragments = {"movflags": f"{each}+empty_moov+default_base_moof+cmaf"}
    data = bytearray(write_encrypted(path, frames, **fragments).read_bytes())
    clear = _packaged(path.with_name("clear.mp4"), path.with_name("fragments.mp4"), fragments).read_bytes()
    at = from_ = 0
    for _ in range(lead):
        start, at, from_ = data.index(b"moof", at), data.index(b"mdat", at), clear.index(b"mdat", from_)
        for name in (b"senc", b"saiz", b"saio"):  # boxes of the encryption
            data[start:at] = data[start:at].replace(name, b"free")
        data[data.index(b"tfhd", start) + 15] = 2  # index of its sample description
        size = int.from_bytes(data[at - 4 : at], "big")
        data[at : at + size - 4] = clear[from_ : from_ + size - 4]
        at, from_ = at + 4, from_ + 4
    _describe_as_well(data, clear)
    path.write_bytes(data)
    return path


def _describe_as_well(data: bytearray, clear: bytes) -> None:
    """Append the sample description of clear frames to that of encrypted ones."""
    from_, at = clear.index(b"avc1", clear.index(b"stsd")) - 4, data.index(b"encv") - 4
    entry = clear[from_ : from_ + int.from_bytes(clear[from_ : from_ + 4], "big")]
    end = at + int.from_bytes(data[at : at + 4], "big")
    data[end:end] = entry
    data[at - 1] = 2  # number of descriptions
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd"):
        place = data.index(name) - 4
        size = int.from_bytes(data[place : place + 4], "big") + len(entry)
        data[place : place + 4] = size.to_bytes(4, "big")


def _packaged(film: Path, path: Path, options: dict[str, str]) -> Path:
    """Copy the packets of a video into a container with options."""
    with av.open(str(film)) as source, av.open(str(path), "w", options=options) as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    return path


def write_encrypted_asf(path: Path, frames: Frames) -> Path:
    """Write a Windows Media file with a license in its header."""
    data = write_stream(path, frames, "msmpeg4v3", form="asf").read_bytes()
    names = [b"", b"DRM\0", b"key-1\0", b"http://license.example\0"]  # secret, kind, key, address
    body = b"".join(struct.pack("<I", len(name)) + name for name in names)
    license = bytes.fromhex("FBB3112223BDD211B4B700A0C955FC6E") + struct.pack("<Q", 24 + len(body)) + body
    size, count = struct.unpack("<QI", data[16:28])
    header = data[:16] + struct.pack("<QI", size + len(license), count + 1) + data[28:30]
    path.write_bytes(header + license + data[30:])
    return path


def write_encrypted_matroska(path: Path, frames: Frames) -> Path:
    """Write a Matroska file with a key ID in its track."""
    data = write_video(path, frames).read_bytes()
    encryption = _element("5035", _element("47E1", b"\x05") + _element("47E2", b"key-1"))
    encodings = _element("6D80", _element("6240", _element("5033", b"\x01") + encryption))
    id = bytes.fromhex("1654AE6B")
    start = data.index(id, data.index(id) + 4)  # the first match is in the seek head
    tracks, after_tracks = _content(data, start + 4)
    track, after_track = _content(data, tracks + 7)  # skips a checksum of six bytes
    entry = _element("AE", data[track:after_track] + encodings)
    path.write_bytes(data[:start] + _element("1654AE6B", entry + data[after_track:after_tracks]) + data[after_tracks:])
    return path


def _element(id: str, content: bytes) -> bytes:
    """EBML element with a size field of eight bytes."""
    return bytes.fromhex(id) + b"\x01" + len(content).to_bytes(7, "big") + content


def _content(data: bytes, at: int) -> tuple[int, int]:
    """Start and end of the content whose size field is at ``at``."""
    length = 9 - data[at].bit_length()
    size = int.from_bytes(data[at : at + length], "big") & ~(1 << 7 * length)
    return at + length, at + length + size


def scrambled(path: Path, pid: int = 0x100) -> Path:
    """Flag the packets of a transport or program stream as scrambled, as conditional access and DVDs do.

    Args:
        pid: of a transport stream alone; the first one of FFmpeg's muxer is 0x100.
    """
    data = bytearray(path.read_bytes())
    if path.suffix == ".ts":
        for at in range(0, len(data), 188):
            if int.from_bytes(data[at + 1 : at + 3], "big") & 0x1FFF == pid:
                data[at + 3] |= 0x80
    else:
        at = data.find(b"\0\0\1\xe0")
        while at >= 0:
            data[at + 6] |= 0x10
            at = data.find(b"\0\0\1\xe0", at + 7)
    path.write_bytes(data)
    return path
