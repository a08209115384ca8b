"""The report: whole, self-contained, safe with odd names, and honest about what is missing."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.reports.page import Page
from tests.run_folder import features_of, write_metrics
from tests.search.browser import Tab
from vicc_ray.clip_store.reader import ClipStore
from vicc_ray.config import Config
from vicc_ray.config.loader import dump_config, load_config
from vicc_ray.errors import UserError
from vicc_ray.evaluation.feature_store import FeatureTable, feature_path, remove_features, save_features
from vicc_ray.evaluation.retrieval_results import evaluate_features
from vicc_ray.reports.run import build_report
from vicc_ray.reports.run.flow_videos import choose
from vicc_ray.runs.stage_times import FILE
from vicc_ray.utils.jsonl import append_line

SECTIONS = [
    "retrieval", "confusion", "gallery", "embedding_map", "flow_videos", "training_charts", "timing", "settings"
]  # fmt: skip


def sections(page: Page) -> list[str]:
    """Sections of a page in its order, without figures that these tests do not know."""
    return [a["id"] for tag, a in page.tags if tag == "section" and a["id"] in SECTIONS]


def build(run_dir: Path, store: ClipStore | None) -> tuple[Page, str, dict]:
    path = build_report(run_dir, store)
    html = path.read_text()
    figures = json.loads((run_dir / "report" / "report.json").read_text())
    return Page(html), html, figures


@pytest.mark.slow
def test_page_has_all_sections_and_loads_nothing(run_dir: Path, store: ClipStore) -> None:
    page, html, figures = build(run_dir, store)
    assert sections(page) == SECTIONS
    assert not re.search(r"https?://|@import|//[a-z]+\.", re.sub(r"base64,[A-Za-z0-9+/=]+", "", html))
    assert not {"script", "iframe", "object", "embed"} & {tag for tag, _ in page.tags}
    assert all(source.startswith("data:") for source in page.attributes("src") + page.attributes("href"))
    assert all(url.startswith("data:image/webp") for url in re.findall(r"url\(([^)]{20})", html))
    assert figures["missing"] == {} and figures["warnings"] == []
    assert sorted(p.name for p in (run_dir / "report").iterdir()) == ["report.html", "report.json"]


@pytest.mark.slow
def test_page_and_json_have_equal_scores(run_dir: Path, store: ClipStore) -> None:
    page, _, figures = build(run_dir, store)
    evaluation = json.loads((run_dir / "evaluation" / "evaluation.json").read_text())
    assert figures["retrieval"] == evaluation
    names = [row["name"] for row in evaluation["rows"]]
    places = [page.text.index(name, page.text.index("R@50")) for name in names]
    assert places == sorted(places)
    for row in evaluation["rows"]:
        assert f"{100 * row['low']:.1f} to {100 * row['high']:.1f}" in page.text


@pytest.mark.slow
def test_gallery_shows_the_same_queries_for_both_networks(run_dir: Path, store: ClipStore) -> None:
    page, html, figures = build(run_dir, store)
    gallery = figures["gallery"]
    assert [network["key"] for network in gallery["networks"]] == ["rgb-stage1", "rgb-stage2-1"]
    splits = {entry.id: entry.split for entry in store.entries}
    labels = {entry.id: entry.label for entry in store.entries}
    for query in gallery["queries"]:
        assert splits[query["id"]] == "test"
        for neighbors in query["neighbors"]:
            assert len(neighbors) == 5 and all(splits[n["id"]] == "train" for n in neighbors)
            assert all(n["same"] == (labels[n["id"]] == query["label"]) for n in neighbors)
    marks = [c for c in page.attributes("class") if c in ("hit", "miss")]
    assert marks == [
        "hit" if n["same"] else "miss"
        for query in gallery["queries"]
        for neighbors in query["neighbors"]
        for n in neighbors
    ]
    assert len(set(re.findall(r"url\(data:image/webp[^)]+\)", html))) == html.count("url(data:image/webp")


@pytest.mark.slow
def test_images_have_alt_texts(run_dir: Path, store: ClipStore) -> None:
    page, _, _ = build(run_dir, store)
    for tag, attributes in page.tags:
        if attributes.get("role") == "img":
            assert attributes["aria-label"]
        if tag == "img":
            assert attributes["alt"]


@pytest.mark.slow
def test_untrusted_names_are_escaped(run_dir: Path, store: ClipStore) -> None:
    page, html, _ = build(run_dir, store)
    assert "<script>alert(1)</script>" in page.text and "<script" not in html
    assert "a <run>" in page.text and "<b>broken.mp4" in page.text


@pytest.mark.slow
def test_input_counts_add_up(run_dir: Path, store: ClipStore) -> None:
    _, _, figures = build(run_dir, store)
    data = figures["timing"]["inputs"]
    assert (data["all"], data["videos"], data["failed"]) == (13, 12, 1)
    assert data["splits"] == {"train": 8, "test": 4} and sum(data["classes"].values()) == 12
    assert data["seconds"] == pytest.approx(24.0)


@pytest.mark.slow
def test_timing_equals_the_step_times(run_dir: Path, store: ClipStore) -> None:
    _, _, figures = build(run_dir, store)
    timing = figures["timing"]["training"]
    assert timing["steps"] == 240 and timing["seconds"] == pytest.approx(240 * 0.04)
    assert timing["data_wait_share"] == pytest.approx(0.25)
    assert timing["samples_per_s"] == pytest.approx(400)
    assert timing["workers"] == [2]


@pytest.mark.slow
def test_changed_settings_are_marked(run_dir: Path, store: ClipStore) -> None:
    _, _, figures = build(run_dir, store)
    changed = {(s["name"], row["key"]) for s in figures["settings"] for row in s["rows"] if row["changed"]}
    assert changed == {
        ("run", "name"),
        ("train", "global_batch_size"),
        ("method", "num_prototypes"),
        ("method", "queue_size"),
    }
    assert all(row["help"] for s in figures["settings"] for row in s["rows"])


@pytest.mark.slow
def test_changed_settings_are_relative_to_the_recipe(run_dir: Path, store: ClipStore) -> None:
    config = load_config("demo", ["train.global_batch_size=8"])
    (run_dir / "config.yaml").write_text(dump_config(config))
    _, _, figures = build(run_dir, store)
    changed = {(s["name"], row["key"]) for s in figures["settings"] for row in s["rows"] if row["changed"]}
    assert figures["recipe"] == "demo" and changed == {("train", "global_batch_size")}


@pytest.mark.slow
def test_the_total_time_is_the_sum_of_the_stages(run_dir: Path, store: ClipStore) -> None:
    for stage, seconds in (("preparing", 60.0), ("pretraining", 400.0), ("pretraining", 200.0)):
        append_line(run_dir / FILE, {"stage": stage, "begun_ms": 0, "seconds": seconds})
    page, _, figures = build(run_dir, store)
    assert figures["timing"]["stages"] == {"preparing": 60.0, "pretraining": 600.0}
    assert "11 min" in page.text


@pytest.mark.slow
def test_videos_with_motion_are_shown_first(run_dir: Path, store: ClipStore) -> None:
    _, _, figures = build(run_dir, store)
    assert figures["flow_videos"] and not any(video["static"] for video in figures["flow_videos"])
    videos = [{"id": str(n), "label": "ab"[n % 2], "static": n < 9} for n in range(12)]
    assert [video["id"] for video in choose(videos)] == ["9", "10", "11", "0"]


@pytest.mark.slow
def test_r_at_5_fits_a_phone_screen(run_dir: Path, store: ClipStore, tab: Tab) -> None:
    page = build_report(run_dir, store)
    tab.page.set_viewport_size({"width": 360, "height": 800})
    tab.page.goto(page.as_uri())
    header = tab.page.locator(".recall thead th", has_text=re.compile(r"^R@5$"))
    cells = tab.page.locator(".recall tbody tr td:nth-child(3)")
    boxes = [header.bounding_box(), *(cell.bounding_box() for cell in cells.all())]
    assert len(boxes) > 2 and all(box and box["x"] + box["width"] <= 345 for box in boxes)


@pytest.mark.slow
def test_a_phase_that_stays_at_ln_k_gets_a_warning(run_dir: Path, store: ClipStore) -> None:
    write_metrics(run_dir, end=2.99)
    page, _, figures = build(run_dir, store)
    assert [w["kind"] for w in figures["warnings"]] == ["not_learning"] * 4
    assert all(w["name"] in page.text and w["text"] in page.text for w in figures["warnings"])


@pytest.mark.slow
def test_collapsed_assignments_get_a_warning(run_dir: Path, store: ClipStore) -> None:
    write_metrics(run_dir, entropy=0.3)
    _, _, figures = build(run_dir, store)
    assert [w["kind"] for w in figures["warnings"]] == ["prototype_collapse"] * 4


@pytest.mark.slow
def test_collapsed_embeddings_get_a_warning_with_the_settings_of_the_run(run_dir: Path, store: ClipStore) -> None:
    write_metrics(run_dir, rank=1.3)
    page, _, figures = build(run_dir, store)
    assert [w["kind"] for w in figures["warnings"]] == ["dimensional_collapse"] * 4
    assert "effective rank is 1.3 of 128" in page.text and "optimizer.learning_rate (now 0.6)" in page.text


@pytest.mark.slow
def test_epochs_are_drawn_as_curves_with_a_summary(run_dir: Path, store: ClipStore) -> None:
    page, _, figures = build(run_dir, store)
    curves = figures["phases"][1]["epochs"]["curves"]
    assert curves["step"] == [70, 80, 90, 100, 110, 120] and curves["effective_rank"] == [12.0] * 6
    summaries = [text for text in page.attributes("aria-label") if "by epoch" in text]
    assert len(summaries) == 4 and all("RGB stage 1 ends at" in text for text in summaries)
    assert any("ends at 90%" in text for text in summaries)
    assert figures["timing"]["training"]["memory_peak_mib"] == 1024.0 + 59 and "1.1 GiB" in page.text


@pytest.mark.slow
def test_a_run_without_epochs_has_the_other_sections(run_dir: Path, store: ClipStore) -> None:
    (run_dir / "epochs.jsonl").unlink()
    page, _, figures = build(run_dir, store)
    assert set(figures["missing"]) == {"epochs"} and figures["warnings"] == []
    assert "Loss by step" in " ".join(page.attributes("aria-label")) and figures["missing"]["epochs"] in page.text
    assert not [text for text in page.attributes("aria-label") if "by epoch" in text]


@pytest.mark.slow
def test_epochs_repeated_after_a_resume_count_once(run_dir: Path, store: ClipStore) -> None:
    path = run_dir / "epochs.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:9], '{"step": 100, "tu', "\n", *lines[7:]]))
    _, _, figures = build(run_dir, store)
    assert [len(phase["epochs"]["curves"]["step"]) for phase in figures["phases"]] == [6, 6, 6, 6]


@pytest.mark.slow
def test_steps_repeated_after_a_resume_count_once(run_dir: Path, store: ClipStore) -> None:
    path = run_dir / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:130], '{"step": 130, "phase', "\n", *lines[100:]]))
    _, _, figures = build(run_dir, store)
    assert [phase["steps"] for phase in figures["phases"]] == [60, 60, 60, 60]
    assert figures["timing"]["training"]["steps"] == 240


def test_a_running_phase_is_reported(run_dir: Path, store: ClipStore) -> None:
    lines = (run_dir / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run_dir / "metrics.jsonl").write_text("".join(lines[:1]))
    shutil.rmtree(run_dir / "evaluation")
    (run_dir / "validation.jsonl").unlink()
    (run_dir / "epochs.jsonl").unlink()
    page, _, figures = build(run_dir, store)
    assert set(figures["missing"]) == {"validation", "retrieval", "gallery", "epochs"}
    evaluated = ("confusion", "embedding_map")
    assert sections(page) == [s for s in SECTIONS if s not in evaluated]
    assert figures["headline"]["tiles"] == [] and "240" not in figures["headline"]["text"]
    assert "up to step 0" in figures["headline"]["text"]


@pytest.mark.slow
def test_diverged_losses_are_reported_in_valid_json(run_dir: Path, store: ClipStore) -> None:
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    for line in lines[30:60]:
        line["loss"] = float("nan")
    (run_dir / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    _, _, figures = build(run_dir, store)
    assert [(w["phase"], w["kind"]) for w in figures["warnings"]] == [("rgb-stage1", "diverged")]
    assert None in figures["phases"][0]["curves"]["loss"]
    assert "NaN" not in (run_dir / "report" / "report.json").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("split", [None, "train"])
def test_without_labels_neighbors_are_shown_and_no_score(split: str | None, run_dir: Path, store: ClipStore) -> None:
    """Whether some of the videos are for testing, as a manifest may say, or all are trained on."""
    (run_dir / "evaluation" / "evaluation.json").unlink()
    (run_dir / "validation.jsonl").unlink()
    for seed, name in enumerate(("rgb-stage1", "rgb-stage2-1")):
        table = features_of(store, seed)
        splits = table.splits if split is None else np.full(12, split)
        unlabelled = FeatureTable(table.ids, np.full(12, ""), table.sources, splits, table.features)
        save_features(feature_path(run_dir / "evaluation", name), unlabelled)
    page, _, figures = build(run_dir, store)
    assert set(figures["missing"]) == {"retrieval", "validation"}
    assert figures["retrieval"] is None
    assert "hit" not in page.attributes("class") and "miss" not in page.attributes("class")
    queries = figures["gallery"]["queries"]
    assert len(queries) == (4 if split is None else 8)
    assert page.attributes("class").count("open") == len(queries) * 2 * 5
    assert not re.search(r"[a-z]\.[A-Z]", page.text[page.text.index("Nearest neighbors") :][:400])  # a lost space
    assert not any(query["id"] in {n["id"] for neighbors in query["neighbors"] for n in neighbors} for query in queries)


@pytest.mark.slow
def test_the_headline_of_videos_without_labels_says_so(run_dir: Path, store: ClipStore) -> None:
    evaluation = run_dir / "evaluation"
    labelled = build(run_dir, store)[2]["headline"]
    (evaluation / "evaluation.json").unlink()
    not_yet = build(run_dir, store)[2]["headline"]
    for name in ("rgb-stage1", "rgb-stage2-1"):
        table = features_of(store, 0)
        unlabelled = FeatureTable(table.ids, np.full(12, ""), table.sources, table.splits, table.features)
        save_features(feature_path(evaluation, name), unlabelled)
    figures = build(run_dir, store)[2]
    assert "12 videos without labels" in figures["headline"]["title"]
    assert len({labelled["title"], not_yet["title"], figures["headline"]["title"]}) == 3
    assert not re.search("evaluat", json.dumps([figures["headline"], figures["missing"]]))


@pytest.mark.slow
def test_without_stage_two_the_gallery_has_one_row(run_dir: Path, store: ClipStore) -> None:
    for path in (run_dir / "evaluation").glob("*stage2*"):
        remove_features(path)
    _, _, figures = build(run_dir, store)
    assert [network["key"] for network in figures["gallery"]["networks"]] == ["rgb-stage1"]


def test_without_the_store_the_other_sections_are_shown(run_dir: Path) -> None:
    page, html, figures = build(run_dir, None)
    assert sections(page) == SECTIONS
    assert figures["timing"]["inputs"] is None and figures["missing"]["store"] in page.text
    assert "webp" not in html and figures["retrieval"] is not None


def test_videos_missing_from_the_store_have_placeholders(run_dir: Path, store: ClipStore) -> None:
    for seed, name in enumerate(("rgb-stage1", "rgb-stage2-1")):
        table = features_of(store, seed)
        renamed = np.char.add("other/", table.ids)
        save_features(
            feature_path(run_dir / "evaluation", name),
            FeatureTable(renamed, table.labels, table.sources, table.splits, table.features),
        )
    page, _, _ = build(run_dir, store)
    assert "film empty" in page.attributes("class")


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="config.yaml"):
        build_report(tmp_path, None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_building_the_page_twice_gives_equal_bytes(run_dir: Path, store: ClipStore) -> None:
    first = build_report(run_dir, store).read_bytes()
    assert build_report(run_dir, store).read_bytes() == first


@pytest.mark.slow
def test_a_stage_2_only_run_is_labeled(run_dir: Path, store: ClipStore) -> None:
    for name in ("rgb-stage1", "flow-stage1", "flow-stage2-1"):
        remove_features(feature_path(run_dir / "evaluation", name))
    evaluate_features(run_dir / "evaluation", Config())
    _, _, figures = build(run_dir, store)
    assert figures["headline"]["title"].startswith("R@1 of RGB after the cross-stream stage is")
    assert figures["headline"]["title"].endswith(figures["headline"]["tiles"][-2]["value"])
