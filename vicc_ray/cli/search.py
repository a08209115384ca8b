"""Commands ``index``, ``search`` and ``serve``."""

from __future__ import annotations

import argparse
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vicc_ray.cli.options import add_command, add_labels, add_ray, add_set
from vicc_ray.cli.path_types import input_path, output_path, path_or_address
from vicc_ray.errors import UserError
from vicc_ray.utils.account_key import key_file
from vicc_ray.utils.standard_streams import print_line

if TYPE_CHECKING:
    from vicc_ray.config import Config
    from vicc_ray.search.ranking import Hit
    from vicc_ray.search.reader import SearchIndex

INDEX_DEFAULTS = {"prepare": {"max_frames": 100_000, "timeout_s": 600.0}}
"""Defaults that differ from those of a clip store: an index is for long videos, up to an hour."""
INDEX_SETTINGS = (
    "ray.node_wait_timeout_s",
    "prepare.max_frames",
    "prepare.timeout_s",
    "prepare.max_failure_rate",
    "prepare.videos_per_shard",
    "prepare.split_fold",
    "evaluate.window_overlap",
    "evaluate.max_windows_per_video",
    "evaluate.batch_size",
    "train.use_gpu",
    "ray.cpus",
    "ray.object_store_mb",
)
MAX_RESULTS = 100
"""Maximum number of results."""
_LARGEST_UPLOAD = 2048
"""In MB: a third of the memory limit of a decoding process, which keeps the video in memory."""


def add_search(commands: Any) -> None:
    """Declare the commands."""
    _add_index(commands)
    command = add_command(
        commands,
        "search",
        _search,
        "nearest neighbors of a video in an index",
        "Prints rank, cosine score, best-matching time span, label and id of each. --html writes one file with\n"
        "animated thumbnails; a click on a result makes it the query.",
        "vicc-ray search my-index query.mp4",
        "vicc-ray search my-index walk/17.mp4 --top-k 20 --html found.html",
    )
    _add_opened(command)
    command.add_argument("query", metavar="QUERY", help="a video file, or the id of a video in the index")
    command.add_argument("--html", type=output_path, metavar="FILE", help="write the results as one HTML file")
    command = add_command(
        commands,
        "serve",
        _serve,
        "web page for searching: drop a video, or click a result",
        "Listens on this machine alone unless --host is given. The printed link has a token, which every request\n"
        "needs. Uploaded videos are deleted after decoding.",
        "vicc-ray serve my-index",
        "vicc-ray serve my-index --host 0.0.0.0 --port 8080 --videos /mnt/videos",
        "vicc-ray serve my-index --token-file ~/.vicc-ray-token",
    )
    _add_opened(command)
    command.add_argument("--host", default="127.0.0.1", help="address to listen at (default 127.0.0.1)")
    command.add_argument("--port", type=_port, default=8000, help="port to listen at (default 8000; 0: any free port)")
    token = command.add_mutually_exclusive_group()
    token.add_argument(
        "--token-file",
        type=output_path,
        metavar="FILE",
        help="store the token in a file readable only by you, created if missing, so that the link stays the same",
    )
    token.add_argument(
        "--no-token",
        action="store_true",
        help="serve all accounts of this machine without a token, on loopback only; see the docs",
    )
    command.add_argument(
        "--max-upload",
        type=_upload_size,
        default=200,
        metavar="MB",
        help=f"largest upload (default 200, at most {_LARGEST_UPLOAD}: it is decoded in memory)",
    )
    command.add_argument(
        "--time-limit", type=_positive, default=30, metavar="S", help="timeout of decoding an upload (default 30)"
    )


def _add_index(commands: Any) -> None:
    command = add_command(
        commands,
        "index",
        _index,
        "videos -> search index of RGB features",
        "Every video becomes a row of the index, or a line with the reason in INDEX/failures.jsonl. The same command\n"
        "resumes, and adds new videos. The index has its own copy of the network.",
        "vicc-ray index my-videos --model my-run/run --index my-index",
        "vicc-ray index s3://bucket/videos --model encoder.safetensors --index my-index --set "
        "evaluate.max_windows_per_video=40",
    )
    command.add_argument(
        "videos",
        type=path_or_address,
        metavar="VIDEOS",
        help="folder of videos, local or an address such as s3://bucket/prefix or gs://bucket/prefix",
    )
    command.add_argument("--index", type=output_path, required=True, metavar="INDEX", help="folder of the index")
    command.add_argument(
        "--model",
        type=input_path,
        metavar="RUN|CHECKPOINT|FILE",
        help="RGB network: a run directory, a checkpoint or a file (default: that of an existing index)",
    )
    add_labels(command)
    add_set(command, f": {', '.join(INDEX_SETTINGS)} (see `vicc-ray config demo`)")
    add_ray(command)


def _add_opened(command: argparse.ArgumentParser) -> None:
    command.add_argument("index", type=input_path, metavar="INDEX", help="folder of `vicc-ray index`")
    command.add_argument("--top-k", type=_count, default=12, metavar="N", help="number of results (default 12)")
    command.add_argument(
        "--videos",
        type=input_path,
        action="append",
        metavar="DIR",
        help="folder of the videos, if it is not the one that this account indexed (none: serve no videos); "
        "repeatable, for other folders that links point into",
    )
    command.add_argument(
        "--query-windows",
        type=_positive,
        metavar="N",
        help="maximum number of windows of a query file; more are slower and more accurate (default: up to 5, fewer "
        "for a large network)",
    )


def _index(options: argparse.Namespace) -> None:
    config = _index_config(options.overrides)
    from vicc_ray.pipelines.search_index import index_videos

    progress = not options.quiet
    print(index_videos(options.videos, options.index, options.model, config, options.labels, progress))


def _index_config(overrides: list[str]) -> Config:
    from vicc_ray.config.loader import config_of
    from vicc_ray.config.messages import suggest

    for override in overrides:
        key = override.partition("=")[0].strip()
        if key not in INDEX_SETTINGS:
            hint = suggest(key, INDEX_SETTINGS)
            raise UserError(f"--set {override}: not a setting of an index{hint}; allowed: {', '.join(INDEX_SETTINGS)}")
    return config_of({name: dict(section) for name, section in INDEX_DEFAULTS.items()}, "index", overrides)


def _search(options: argparse.Namespace) -> None:
    from vicc_ray.search.query import resolve_query
    from vicc_ray.search.ranking import median_score, search
    from vicc_ray.search.reader import missing_files

    index = _open(options)
    query = resolve_query(index, options.query, options.query_windows)
    hits = search(index, query.query, options.top_k)
    _print_hits(index, hits)
    if len(hits) == options.top_k:
        print_line(f"of all {len(index):,} videos, about half score {median_score(index, query.query):.2f} or more")
    note = missing_files(index, [hit.row for hit in hits])
    if note:
        print_line(note)
    if options.html:
        from vicc_ray.search.html import write_page

        write_page(index, query, hits, options.top_k, options.html)
        print_line(f"page: {options.html}")


def _print_hits(index: SearchIndex, hits: list[Hit]) -> None:
    """Print one line per hit: rank, score, time span, label, id. No header, so that programs can read it."""
    from vicc_ray.cli.tables import Column, print_table
    from vicc_ray.utils.timecode import span

    rows = []
    for rank, hit in enumerate(hits, 1):
        video = index.video(hit.row)
        rows.append((str(rank), f"{hit.score:.3f}", span(hit.start, hit.end), video.label, video.id))
    print_table([Column(width=3), Column(width=6), Column(), Column(justify="left"), Column(justify="left")], rows)


def _serve(options: argparse.Namespace) -> None:
    index = _open(options)
    _check_videos(index)
    from vicc_ray.search.server.api import Service
    from vicc_ray.search.server.app import ServerPolicy, create_app, listen, serve
    from vicc_ray.search.server.connections import process_limits
    from vicc_ray.search.server.loopback import is_loopback

    with listen(options.host, options.port) as listening:
        loopback = is_loopback(listening.getsockname()[0])
        token = _token(options, loopback)
        service = Service(index, options.top_k, options.time_limit, options.query_windows)
        app = create_app(service, ServerPolicy(token, loopback, options.max_upload * 2**20), process_limits())
        print_line(f"{len(index):,} videos; open {_link(options, listening, token)} (Ctrl-C ends)", flush=True)
        serve(app, listening)


def _token(options: argparse.Namespace, loopback: bool) -> str | None:
    from vicc_ray.search.server.token_file import new_token, stored_token

    if options.no_token and not loopback:
        raise UserError(
            f"--no-token --host {options.host}: anyone who reaches this machine could see all videos; without a token "
            "the server listens on loopback only (--host 127.0.0.1)"
        )
    if options.no_token:
        return None
    return stored_token(options.token_file) if options.token_file else new_token()


def _link(options: argparse.Namespace, listening: socket.socket, token: str | None) -> str:
    """Link for the browser. A stored token is not shown, because the output of services is logged."""
    address, port = listening.getsockname()[:2]
    link = f"http://{_shown_host(options.host, address)}:{port}/"
    if options.token_file:
        return f"{link}?token=... with the token in {options.token_file}"
    return f"{link}?token={token}" if token else link


def _shown_host(host: str, address: str) -> str:
    """Host name that the server accepts: that of its machine, not every alias."""
    from vicc_ray.search.server.loopback import is_loopback

    name = host
    if host in ("0.0.0.0", "::"):
        name = socket.gethostname()
    elif is_loopback(address) and not is_loopback(host):
        name = address
    return f"[{name}]" if ":" in name else name


def _open(options: argparse.Namespace) -> SearchIndex:
    from vicc_ray.search.reader import SearchIndex
    from vicc_ray.search.video_folder import VideoFolder

    folders = options.videos
    if folders is None:
        return SearchIndex(options.index)
    if folders == [Path("none")]:
        return SearchIndex(options.index, VideoFolder())
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"--videos {folder}: no such folder")
    return SearchIndex(options.index, VideoFolder(*folders))


def _check_videos(index: SearchIndex) -> None:
    """Reject a folder that the index names but this account has not indexed: an untrusted index could name any."""
    if index.unconfirmed_videos:
        raise UserError(
            f"{index.folder} names the video folder {index.unconfirmed_videos!r}, but this account has not indexed "
            f"that folder (or has lost its key, {key_file()}, or the folder is a link now); give --videos FOLDER, "
            "or --videos none to serve no videos"
        )


def _count(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= MAX_RESULTS:
        raise argparse.ArgumentTypeError(f"{text} given; a whole number from 1 to {MAX_RESULTS} is allowed")
    return int(text)


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text} given; a whole number from 0 to 65535 is allowed")
    return int(text)


def _upload_size(text: str) -> int:
    size = _positive(text)
    if size > _LARGEST_UPLOAD:
        raise argparse.ArgumentTypeError(
            f"{text} MB given; 1 to {_LARGEST_UPLOAD} are allowed, because an upload is decoded in memory; "
            "add larger ones with vicc-ray index, or search with a shorter clip of them"
        )
    return size


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} given; a whole number of at least 1 is allowed")
    return int(text)
