"""Pages and pictures among the results: found by what they say of themselves, whatever else lies there."""

import base64
import io
import json

import numpy as np
import pytest
from browsing import WEBGL, Visit, launched
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from report_world import NASTY

import embedkit
from embedkit.files.page_of import About, pages_about
from embedkit.files.store import FeatureFile
from embedkit.images.png_text import text_in
from reports.map.beside import find_beside
from reports.picture_records import AttentionRecord, CamRecord, MappedImage, png_of
from reports.sections import Made, Numbers, Section, render

KEYWORD = "embedkit-attention"


def write_page(path, kind, fingerprint, says=""):
    shown = [Section("one", "One", "One", "", "", "made", Numbers((), ()))]
    made = Made("embedkit x", kind, fingerprint, says)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(NASTY, "facts", shown, made=made, tables={}, notes=[]), "utf-8")


def png(record=None, *, colour=(0, 200, 0)):
    stream, info = io.BytesIO(), PngInfo()
    info.add_text("Software", "another")
    if record is not None:
        info.add_text(KEYWORD, record)
    Image.new("RGB", (30, 20), colour).save(stream, "PNG", pnginfo=info)
    return stream.getvalue()


def test_a_page_says_what_it_is_about(tmp_path):
    write_page(tmp_path / "deep" / "c.html", "cam", "ab12", f'It "follows" {NASTY}')
    (tmp_path / "other.html").write_text('<meta name="embedkit-about" content="cam zz" title="">')
    (found,) = pages_about(tmp_path)
    assert found[0] == tmp_path / "deep" / "c.html"
    assert (found[1].kind, found[1].fingerprint) == ("cam", "ab12")
    assert found[1].says == f'{NASTY}: facts. It "follows" {NASTY}'
    assert len(About("cam", "", "word " * 1000).element) < 700


def test_the_text_of_a_png_is_what_pillow_wrote():
    told = json.dumps({"a": "ü", "b": "x" * 5000})
    assert text_in(png(told), KEYWORD) == told == Image.open(io.BytesIO(png(told))).text[KEYWORD]
    assert text_in(png(), KEYWORD) is None
    assert text_in(b"GIF89a", KEYWORD) is None
    assert text_in(png(told)[:60], KEYWORD) is None


def test_what_is_of_the_same_images_comes_first_and_damage_is_told(tmp_path):
    record = {"command": NASTY, "dataset": NASTY, "network": "vit", "entropy": {"": [0.5, 0.25]}}
    for name, fingerprint in (("a", "cd"), ("b", "ab")):
        write_page(tmp_path / f"{name}.html", "votes", fingerprint)
        (tmp_path / f"{name}.png").write_bytes(png(json.dumps({**record, "fingerprint": fingerprint})))
    whole = png(json.dumps({**record, "fingerprint": "ab"}))
    (tmp_path / "cut.png").write_bytes(whole[: whole.index(b"IDAT") + 6])
    (tmp_path / "none.png").write_bytes(png('{"command": 3}'))
    (tmp_path / "plain.png").write_bytes(png())
    said = []
    found = find_beside(tmp_path, {"ab"}, said.append)
    assert [path.name for path, _ in found.of("votes")] == ["b.html", "a.html"]
    assert [one.path.name for one in found.attended] == ["b.png", "a.png"]
    assert (found.attended[0].width, found.attended[0].height) == (30, 20)
    assert len(said) == 1
    assert "cut.png" in said[0]
    assert find_beside(tmp_path / "nowhere", {"ab"}, pytest.fail).pages == ()


def test_a_report_shows_attention_and_votes_and_links_to_their_pages(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = {"n": 40, "size": 32, "votes": True}
    embedkit.extract("simulated", output="f.h5", backbone="pixels:8", **data)
    with FeatureFile("f.h5") as file:
        fingerprint = file.made.fingerprint
        shares = np.asarray(file.rows.targets)
    command = "embedkit attention simulated"
    record = AttentionRecord(command, "simulated", fingerprint, "vit", {"": [0.5, 0.25]})
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "a.png").write_bytes(png(json.dumps(vars(record))))
    write_page(tmp_path / "runs" / "deep" / "v.html", "votes", fingerprint, "Little noise.")
    write_page(tmp_path / "runs" / "c.html", "cam", "0", "It follows the network.")
    made = embedkit.report("f.h5", output="pages/o.html", projection="pca")
    text = made.path.read_text("utf-8")
    looks, votes = (
        text.split(f'<section id="{name}">')[1].split("</section>")[0] for name in ("looks", "votes")
    )
    assert '<a href="./../runs/c.html">Grad-CAM: c.html</a>' in looks
    assert "It follows the network." in looks
    assert "1 is alike everywhere: 0.50 0.25" in looks
    assert f"<code>{command}</code>" in looks
    assert looks.count("<image ") == 1
    assert '<a href="./../runs/deep/v.html">Votes: v.html</a>' in votes
    assert votes.count('<svg class="figure"') == shares.shape[1] == 37
    assert f"mean {shares[:, 0].mean():.3f}" in votes
    assert text.count('<section id="looks">') == 1


def test_attention_writes_down_what_it_shows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    how = {"backbone": "vit_tiny_patch16_224", "random_init": 0, "image_size": 32}
    found = embedkit.attention("simulated", output="a.png", n=6, size=32, n_images=2, **how)
    (one,) = find_beside(tmp_path, (), pytest.fail).attended
    assert one.record.network == "vit_tiny_patch16_224"
    words = "--n 6 --size 32 --backbone vit_tiny_patch16_224 --random-init 0 --image-size 32 --n-images 2"
    assert one.record.command == f"embedkit attention simulated {words} -o a.png"
    np.testing.assert_allclose(one.record.entropy[""], found.entropy[""], atol=1e-4)
    embedkit.attention("simulated", output="a.jpg", n=6, size=32, n_images=1, **how)
    with Image.open("a.jpg") as written:
        assert written.format == "JPEG"


def test_a_file_without_votes_has_no_such_section(world, tmp_path):
    made = embedkit.report(world.features, output=tmp_path / "o.html", projection="pca")
    text = made.path.read_text("utf-8")
    assert '<section id="votes">' not in text
    assert '<section id="looks">' not in text


def maps(size, rows, **told):
    record = CamRecord(
        "embedkit cam", NASTY, "ab", NASTY, ["image", "Grad-CAM"], rows, "Yellow is most", "They do", **told
    )
    return png_of(Image.new("RGB", size, (0, 90, 0)), record)


def test_a_picture_of_maps_is_cut_as_its_text_says_or_not_shown(tmp_path):
    rows = [MappedImage(NASTY, "smooth, right", "a → b 0.9"), MappedImage("b", "", "")]
    (tmp_path / "a.png").write_bytes(maps((80, 80), rows))
    for name, size, those in (("high", (80, 81), rows), ("wide", (81, 80), rows), ("none", (80, 80), [])):
        (tmp_path / f"{name}.png").write_bytes(maps(size, those))
    said = []
    (found,) = find_beside(tmp_path, (), said.append).mapped
    assert [one.id for one, _ in found.images] == [NASTY, "b"]
    for _, tiles in found.images:
        for tile in tiles:
            picture = Image.open(io.BytesIO(base64.b64decode(tile.partition(",")[2])))
            assert picture.size == (40, 40)
    assert sorted(one.partition(".png")[0][-4:] for one in said) == ["high", "none", "wide"]
    assert all("Make it again with embedkit cam" in one for one in said)


def test_ids_of_maps_are_those_of_points_only_in_the_same_images(tmp_path):
    embedkit.extract("simulated", output=tmp_path / "f.h5", backbone="pixels:8", n=20, size=32)
    with FeatureFile(tmp_path / "f.h5") as file:
        ids, fingerprint = file.rows.ids.tolist(), file.made.fingerprint
    for name, of in (("a", fingerprint), ("b", "cd")):
        rows = [MappedImage(str(ids[1]), "g", NASTY), MappedImage("gone", "g", "")]
        record = CamRecord("c", "d", of, NASTY, ["image"], rows, NASTY, NASTY)
        (tmp_path / f"{name}.png").write_bytes(png_of(Image.new("RGB", (20, 40)), record))
    made = embedkit.report(tmp_path / "f.h5", output=tmp_path / "o.html", runs=tmp_path, projection="pca")
    looks = made.path.read_text("utf-8").split('<section id="looks">')[1].split("</section>")[0]
    assert looks.count("<figure") == 4
    assert looks.count("<figure data-row=") == looks.count('<figure data-row="1"') == 1
    assert NASTY not in looks
    assert "pin beside the map" in made.path.read_text("utf-8")


@pytest.mark.browser
def test_an_image_with_maps_is_pinned_by_its_button(tmp_path):
    embedkit.extract("simulated", output=tmp_path / "f.h5", backbone="pixels:8", n=20, size=32)
    with FeatureFile(tmp_path / "f.h5") as file:
        ids, fingerprint = file.rows.ids.tolist(), file.made.fingerprint
    rows = [MappedImage(str(ids[7]), "g", NASTY), MappedImage("gone", "h", "")]
    record = CamRecord("c", "d", fingerprint, NASTY, ["image"], rows, NASTY, NASTY)
    (tmp_path / "a.png").write_bytes(png_of(Image.new("RGB", (20, 40)), record))
    made = embedkit.report(tmp_path / "f.h5", output=tmp_path / "o.html", runs=tmp_path, projection="pca")
    with launched(*WEBGL) as browser:
        visit = Visit(browser, made.path)
        (button,) = visit.page.locator("#looks button").all()
        button.click()
        assert visit.page.evaluate("embedkit.state.pins") == [7]
        assert visit.page.locator("#pins h3").inner_text() == ids[7]
        visit.close()


def test_a_picture_that_says_much_is_found_all_the_same(tmp_path):
    rows = [MappedImage("ü" * 300, "日" * 250, f"{'日' * 250}, {'本' * 250}") for _ in range(24)]
    (tmp_path / "a.png").write_bytes(maps((20, 240), rows))
    assert len(find_beside(tmp_path, (), pytest.fail).mapped) == 1
