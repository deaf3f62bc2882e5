"""What every page keeps to: readable colours, nothing inline, one file of tokens."""

import re
from pathlib import Path

import pytest

import headrace_server
from headrace_server.portal.static import manifest

ROOT = Path(headrace_server.__file__).parent
TEMPLATES = sorted(ROOT.glob("*/templates/*.html"))
STYLES = sorted((ROOT / "portal/assets/src").glob("*.css"))
TOKENS = (ROOT / "portal/assets/src/tokens.css").read_text()
COLOURS = {
    name: (light, dark)
    for name, light, dark in re.findall(r"--([a-z-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)", TOKENS)
}
TEXT = ["text", "quiet", "accent", "accent-strong", *[name for name in COLOURS if name.startswith("state-")]]
GROUNDS = ["page", "surface", "sunken", "hover", "selected"]


def luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_stands_out_from_every_ground(scheme: int) -> None:
    """WCAG 2.2, 1.4.3: at least 4.5:1."""
    weak = {
        (text, ground): round(contrast(COLOURS[text][scheme], COLOURS[ground][scheme]), 2)
        for text in TEXT
        for ground in GROUNDS
        if contrast(COLOURS[text][scheme], COLOURS[ground][scheme]) < 4.5
    }
    assert weak == {}
    assert contrast(COLOURS["on-accent"][scheme], COLOURS["accent"][scheme]) >= 4.5
    assert contrast(COLOURS["on-accent"][scheme], COLOURS["accent-strong"][scheme]) >= 4.5


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_edges_of_controls_and_the_focus_can_be_seen(scheme: int) -> None:
    """WCAG 2.2, 1.4.11: at least 3:1."""
    for edge in ("border-strong", "focus"):
        for ground in ("page", "surface"):
            assert contrast(COLOURS[edge][scheme], COLOURS[ground][scheme]) >= 3, (edge, ground)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: f"{path.parts[-3]}/{path.name}")
def test_no_template_has_anything_inline(template: Path) -> None:
    text = template.read_text()
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=['\x22]|javascript:|hx-on", text)
    assert not re.search(r"<script(?![^>]*\ssrc=)", text)
    assert "| safe" not in text
    assert "autoescape false" not in text


def test_colours_are_named_in_one_file() -> None:
    for style in STYLES:
        if style.name != "tokens.css":
            assert not re.search(r"#[0-9a-fA-F]{3,8}\b(?![^{]*\{)", style.read_text()), style.name
    used = {name for style in STYLES for name in re.findall(r"var\(--([a-z0-9-]+)\)", style.read_text())}
    local = {"state", "part", "kind"}
    defined = set(re.findall(r"--([a-z0-9-]+):", TOKENS))
    assert used - local <= defined
    assert defined <= used, "tokens nobody uses"


def test_built_assets_are_named_by_their_content() -> None:
    built = manifest()
    assert built, "run scripts/build-assets"
    assert set(built) == {"main.js", "main.css", "mark.svg"}
    for plain, hashed in built.items():
        stem, _, kind = plain.rpartition(".")
        assert re.fullmatch(rf"{stem}-[A-Z0-9]{{8}}\.{kind}", hashed)
