"""The served and the static page in a real browser."""

from __future__ import annotations

import base64
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Route, expect

from tests.injected import check_inert
from tests.search.browser import Tab
from tests.search.conftest import NAMES
from tests.search.made import index_here, untrained
from tests.search.serving import LARGEST, Served, served
from vicc_ray.cli.main import main
from vicc_ray.search.index_format import write_videos
from vicc_ray.search.thumbnail import SIDE

DROP = """
async ([content, name]) => {
  const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], name, { type: "video/mp4" }));
  for (const kind of ["dragover", "drop"])
    document.getElementById("drop").dispatchEvent(
      new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true }));
}
"""


@pytest.fixture(scope="module")
def server(index_folder: Path) -> Iterator[Served]:
    with served(index_folder) as running:
        yield running


@pytest.fixture(autouse=True)
def _without_problems(request: pytest.FixtureRequest) -> Iterator[None]:
    """No console error and no dialog may occur, although names of videos are markup."""
    tab: Tab = request.getfixturevalue("tab")
    tab.problems.clear()
    tab.requests.clear()
    yield
    assert tab.problems == []


def expect_all(tab: Tab, paused: bool) -> None:
    """All thumbnails can be decoded, and play or are paused."""
    thumbnails = tab.page.locator("video").all()
    assert thumbnails
    for thumbnail in thumbnails:
        expect(thumbnail).to_have_js_property("videoWidth", SIDE)
        expect(thumbnail).to_have_js_property("paused", paused)


@pytest.mark.slow
def test_a_dropped_video_becomes_the_query(tab: Tab, server: Served, videos: Path) -> None:
    tab.page.goto(server.address)
    expect(tab.page.locator(".hit")).to_have_count(5)
    expect_all(tab, paused=False)
    content = base64.b64encode((videos / "a/right.mp4").read_bytes()).decode()
    tab.page.evaluate(DROP, [content, "<b>mine</b>.mp4"])
    expect(tab.page.locator("#query-name")).to_have_text("<b>mine</b>.mp4")
    assert tab.texts(".hit .id")[0] == "a/right.mp4"
    assert tab.texts(".hit b")[0] == "1.000"
    assert tab.texts(".hit .line span")[0] == "0:00 – 0:01"
    expect_all(tab, paused=False)
    assert all(address.startswith((server.address, "data:")) for address in tab.requests)


@pytest.mark.slow
def test_a_clicked_result_becomes_the_query_and_back_restores_the_previous_one(
    tab: Tab, server: Served, videos: Path
) -> None:
    tab.page.goto(server.address)
    tab.page.set_input_files("#file", videos / "b/up.mp4")
    expect(tab.page.locator("#query-name")).to_have_text("up.mp4")
    first = tab.texts(".hit .id")
    assert first[0] == "b/up.mp4"
    tab.page.locator(".hit button").nth(1).click()
    expect(tab.page.locator("#query-name")).to_have_text(first[1])
    assert first[1] not in tab.texts(".hit .id")
    assert len(tab.texts(".hit .id")) == 4
    tab.page.go_back()
    expect(tab.page.locator("#query-name")).to_have_text("up.mp4")
    assert tab.texts(".hit .id") == first


@pytest.mark.slow
def test_a_late_response_is_not_shown(tab: Tab, server: Served, videos: Path) -> None:
    """The response is the start list; a video is uploaded before it arrives."""
    late: list[Route] = []
    tab.page.route("**/api/videos", lambda route: late.append(route))
    tab.page.goto(server.address)
    tab.page.set_input_files("#file", videos / "b/up.mp4")
    expect(tab.page.locator("#query-name")).to_have_text("up.mp4")
    with tab.page.expect_response("**/api/videos") as answer:
        late.pop().continue_()
    answer.value.finished()
    tab.page.unroute("**/api/videos")
    tab.page.evaluate("new Promise(requestAnimationFrame)")
    expect(tab.page.locator("#query")).to_be_visible()
    assert tab.texts(".hit .id")[0] == "b/up.mp4"


@pytest.mark.slow
def test_names_are_inserted_as_text_and_can_be_searched(tab: Tab, server: Served) -> None:
    tab.page.goto(server.address)
    tab.page.fill("#name", "onerror")
    tab.page.press("#name", "Enter")
    expect(tab.page.locator(".hit")).to_have_count(1)
    assert tab.texts(".hit .id") == [NAMES[1]]
    tab.page.locator(".hit button").click()
    expect(tab.page.locator("#query-name")).to_have_text(NAMES[1])
    assert tab.page.locator("img").count() == 0


@pytest.mark.slow
def test_an_error_message_stays_when_the_list_arrives_late(tab: Tab, server: Served, tmp_path: Path) -> None:
    (tmp_path / "large.mp4").write_bytes(b"x" * (LARGEST + 1))
    late: list[Route] = []
    tab.page.route("**/api/videos", lambda route: late.append(route))
    tab.page.goto(server.address)
    tab.page.set_input_files("#file", tmp_path / "large.mp4")
    expect(tab.page.locator("#problem")).to_contain_text("large.mp4")
    late.pop().continue_()
    expect(tab.page.locator(".hit")).to_have_count(5)
    tab.page.unroute("**/api/videos")
    expect(tab.page.locator("#problem")).to_contain_text("large.mp4")


@pytest.mark.slow
def test_invalid_uploads_show_an_error(tab: Tab, server: Served, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "large.mp4").write_bytes(b"x" * (LARGEST + 1))
    tab.page.goto(server.address)
    tab.page.set_input_files("#file", tmp_path / "large.mp4")
    expect(tab.page.locator("#problem")).to_contain_text("large.mp4 is larger than")
    tab.page.set_input_files("#file", tmp_path / "text.mp4")
    expect(tab.page.locator("#problem")).to_contain_text(re.compile(r"text\.mp4.*not a video"))
    assert [line for line in tab.problems if "422" not in line] == []
    tab.problems.clear()  # the browser logs the status 422 itself


@pytest.mark.slow
def test_a_result_can_be_played(tab: Tab, server: Served) -> None:
    tab.page.goto(server.address + "#0")
    link = tab.page.locator(".hit .play").first
    with tab.page.expect_popup() as opened:
        link.click()
    expect(opened.value.locator("video")).to_have_js_property("videoWidth", 64)
    opened.value.close()


@pytest.mark.slow
def test_thumbnails_pause_on_request_and_with_reduced_motion(tab: Tab, server: Served) -> None:
    tab.page.goto(server.address)
    expect(tab.page.locator(".hit")).to_have_count(5)
    expect_all(tab, paused=False)
    tab.page.check("#pause")
    expect_all(tab, paused=True)
    tab.page.emulate_media(reduced_motion="reduce")
    tab.page.goto(server.address + "?again")
    expect(tab.page.locator(".hit")).to_have_count(5)
    expect_all(tab, paused=True)
    tab.page.emulate_media(reduced_motion="no-preference")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone_screen(tab: Tab, server: Served, scheme: str) -> None:
    tab.page.set_viewport_size({"width": 390, "height": 800})
    tab.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    tab.page.goto(server.address + "#1")
    expect(tab.page.locator(".hit")).to_have_count(4)
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= 390
    tab.page.set_viewport_size({"width": 1100, "height": 900})


@pytest.mark.slow
def test_the_static_page_needs_no_network(tab: Tab, index_folder: Path, videos: Path, tmp_path: Path) -> None:
    page = tmp_path / "found.html"
    assert main(["search", str(index_folder), str(videos / "b/up.mp4"), "--top-k", "3", "--html", str(page)]) == 0
    tab.page.goto(page.as_uri())
    expect(tab.page.locator("#query-name")).to_have_text("up.mp4")
    first = tab.texts(".hit .id")
    assert first[0] == "b/up.mp4"
    expect_all(tab, paused=False)
    for _ in range(4):
        name = tab.texts(".hit .id")[-1]
        tab.page.locator(".hit button").last.click()
        expect(tab.page.locator("#query-name")).to_have_text(name)
        assert len(tab.texts(".hit")) == 3
    expect_all(tab, paused=False)
    assert [address for address in tab.requests if not address.startswith("data:")] == [page.as_uri()]


@pytest.mark.slow
def test_the_policy_of_the_static_page_blocks_other_content(tab: Tab, index_folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "found.html"
    assert main(["search", str(index_folder), "b/up.mp4", "--html", str(page)]) == 0
    check_inert(tab, page)
    tab.page.goto(page.as_uri())
    expect(tab.page.locator("#query-name")).to_have_text("b/up.mp4")


@pytest.mark.slow
def test_invisible_and_reordering_characters_of_names_are_escaped(tab: Tab, videos: Path, tmp_path: Path) -> None:
    name = "a\u202egpj.4pm\x1b[8m\u200b \U0001f469\u200d\U0001f467'.mp4"
    shown = "a\\u202egpj.4pm\\u001b[8m\\u200b \U0001f469\u200d\U0001f467'.mp4"
    folder, page = tmp_path / "own", tmp_path / "found.html"
    folder.mkdir()
    for place, of in ((name, "b/up.mp4"), ("b.mp4", "a/left.mp4"), ("c.mp4", "a/right.mp4")):
        shutil.copy(videos / of, folder / place)
    index = index_here(folder, tmp_path / "index")
    assert main(["search", str(index), "b.mp4", "--top-k", "1", "--html", str(page)]) == 0
    assert not set("\u202e\u200b\x1b") & set(page.read_text())
    with served(index) as server:
        listed = server.request("/api/videos")
        assert listed.body.isascii() and name in [video["id"] for video in listed.json["videos"]]
        tab.page.goto(server.address)
        expect(tab.page.locator(".hit")).to_have_count(3)
        assert shown in tab.texts(".hit .id")
        tab.page.locator(".hit button", has_text="gpj").click()
        expect(tab.page.locator("#query-name")).to_have_text(shown)
        assert tab.page.title().startswith(shown)


@pytest.mark.slow
def test_an_open_page_works_after_rows_have_moved(tab: Tab, index_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(index_folder, tmp_path / "index"))
    with served(folder) as server:
        tab.page.goto(server.address)
        expect(tab.page.locator(".hit")).to_have_count(5)
        names = tab.texts(".hit .id")
        write_videos(folder, 2, untrained().features, {0: {names[0]}})
        tab.page.locator(".hit button").last.click()
        expect(tab.page.locator("#query-name")).to_have_text(names[-1])
        assert sorted(tab.texts(".hit .id")) == sorted(names[1:-1])
        assert tab.page.evaluate("location.hash") == "#3"
        tab.page.reload()
        expect(tab.page.locator("#query-name")).to_have_text(names[-1])


FOLLOW = """
(address) => {
  const link = document.createElement("a");
  link.href = address;
  document.body.append(link);
  link.click();
}
"""


@pytest.mark.slow
def test_the_link_opens_the_page_and_the_token_is_removed_from_the_address(tab: Tab, index_folder: Path) -> None:
    token = "t" * 43
    with served(index_folder, token) as server:
        tab.page.goto(f"{server.address}?token={token}#1")
        expect(tab.page.locator(".hit")).to_have_count(4)
        expect_all(tab, paused=False)
        assert tab.page.url == f"{server.address}#1"
        assert [address for address in tab.requests if token in address] == [f"{server.address}?token={token}"]
        assert token not in tab.page.evaluate("document.cookie + document.referrer")
        tab.page.reload()
        expect(tab.page.locator(".hit")).to_have_count(4)


@pytest.mark.slow
def test_servers_of_one_host_do_not_log_each_other_out(tab: Tab, index_folder: Path) -> None:
    """Also if another site (here localhost) opens the link."""
    with served(index_folder, "a" * 43) as first, served(index_folder, "b" * 43) as second:
        tab.page.goto(f"http://localhost:{first.port}/?token={'a' * 43}")
        for server, token in ((first, "a" * 43), (second, "b" * 43)):
            tab.page.evaluate(FOLLOW, f"{server.address}?token={token}")
            tab.page.wait_for_url(server.address)
            expect(tab.page.locator(".hit")).to_have_count(5)
        tab.page.goto(first.address)
        expect(tab.page.locator(".hit")).to_have_count(5)


@pytest.mark.slow
def test_without_the_token_the_page_says_what_to_do(tab: Tab, index_folder: Path) -> None:
    with served(index_folder, "t" * 43) as server:
        tab.page.goto(server.address)
        expect(tab.page.locator("body")).to_contain_text("vicc-ray serve")
    assert [problem for problem in tab.problems if "401" not in problem] == []
    tab.problems.clear()
