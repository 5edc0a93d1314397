"""The page as a person uses it: opened from disk in Chromium with the network off, and asked for what it promises."""

import json
import os
import random
import re
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from test_pages_engine import built, tool
from tolerances import ENGINE32, PAGE_AUC
from unrolled.models import Edit, ModelConfig, StackConfig, Watch, parse_layers
from unrolled.neurons.statistics import score_pair
from unrolled.pages import bundle
from unrolled.pages.builder import build_page
from unrolled.pages.weights import float16_weights
from unrolled.sampling import SamplingOptions, stream
from unrolled.text.display import visible
from unrolled.text.vocabulary import Vocabulary

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "pages"))

import sample  # noqa: E402
from sample import HOSTILE, TEXT, page_data, write  # noqa: E402

SYMBOLS = sorted(set(TEXT) | set("<>=/'*{}\x1b\u202eé"))
VOCABULARY = Vocabulary("characters", ("\ufffd", *SYMBOLS))


def made(pattern: str = "lstm gru", vocabulary: Vocabulary = VOCABULARY, say: str = "", **changes: Any):
    """A model as a page carries it, its page's data with changes, and the page."""
    config = ModelConfig(stack=StackConfig(width=16), layers=parse_layers(pattern))
    model = built(config, vocabulary.size)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.half().float())
    data = {**page_data(model, config.to_json(), vocabulary, say), **changes}
    return model, data, build_page(data, float16_weights(model.state_dict()))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        message = "playwright is not installed (pip install playwright)"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=tool("chromium", "chromium"), args=["--no-sandbox"])
        yield started
        started.close()


class Visit:
    """A page that was opened, and everything that a person would not see: requests, errors, violations."""

    def __init__(self, browser: Any, address: str, *, ready: bool = True, **options: Any) -> None:
        self.context = browser.new_context(offline=True, viewport={"width": 1200, "height": 900}, **options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda said: self.complaints.append(f"{said.type}: {said.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append("a dialog"))
        self.address = address.partition("#")[0]
        self.page.goto(address)
        if ready:
            self.page.wait_for_selector("html[data-ready]")

    def __enter__(self) -> "Visit":
        return self

    def __exit__(self, *failure: object) -> None:
        self.context.close()
        if failure[0] is None:
            assert self.complaints == []
            assert set(self.requests) == {self.address}

    def text(self, where: str) -> str:
        return self.page.text_content(where)

    def ask(self, script: str, *given: object) -> Any:
        return self.page.evaluate(script, *given)

    def colours(self) -> list[str]:
        return self.ask(
            "[...document.querySelectorAll('#passage span')].map(s => (/h[0-9]+/.exec(s.className)||[''])[0])"
        )

    def expected(self, where: str) -> list[tuple[str, float]]:
        """The signs and probabilities in a list of what the network expects."""
        rows = "rows => rows.map(row => [row.querySelector('kbd').textContent, row.querySelector('progress').value])"
        return [tuple(row) for row in self.page.eval_on_selector_all(f"{where} .expected li", rows)]

    def finish_writing(self) -> None:
        self.page.select_option("#pace", "0")
        self.page.click("#write-start")
        self.page.wait_for_selector("#write-start:text-is('Write')")


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    """The model, the data and the address of a page as most tests open it."""
    model, data, html = made()
    return model, data, write(tmp_path_factory.mktemp("page") / "page.html", html)


def recorded(model, ids: list[int]) -> tuple[torch.Tensor, dict[str, np.ndarray]]:
    """Probabilities after each symbol, and the values of all units, in PyTorch."""
    seen: dict[str, np.ndarray] = {}
    with torch.inference_mode():
        logits = model(torch.tensor([ids]), tap=Watch(lambda name, value: seen.__setitem__(name, value[0].numpy())))[0]
    return logits[0].softmax(-1), seen


def sign(character: str) -> str:
    return {" ": "␣", "\n": "↵", "\ufffd": "unknown"}.get(character, visible(character))


def check_expected(found: list[tuple[str, float]], probabilities: torch.Tensor) -> None:
    best = probabilities.topk(5)
    assert [probability for _, probability in found] == pytest.approx(best.values.tolist(), abs=ENGINE32)
    assert {name for name, _ in found} == {sign(VOCABULARY.symbols[at]) for at in best.indices.tolist()}


def test_it_reads_the_text_and_expects_what_the_model_expects(browser, usual):
    model, _, address = usual
    ids = VOCABULARY.encode(TEXT).tolist()
    probabilities, seen = recorded(model, ids)
    with Visit(browser, address) as visit:
        assert visit.ask("document.querySelector('#passage').textContent") == TEXT
        assert visit.ask("document.documentElement.dataset.ready") == "wasm"
        assert "12,345" in visit.text("h1") and "book.txt" in visit.text("h1")
        for at in (0, 11, 200, len(TEXT) - 1):
            visit.page.hover(f"#passage span >> nth={at}")
            check_expected(visit.expected("#character"), probabilities[at])
            said = visit.text("#character")
            value = seen["layer0.input_gate"][at, 1]
            assert f"layer0.input_gate[1]{value:.2f}" in said
            if at:
                bits = -float(probabilities[at - 1, ids[at]].log2())
                shown = float(re.search(r"([\d.]+) bits", said)[1])
                assert shown == pytest.approx(bits, abs=0.051)
                assert visit.page.locator("#character .came").count() <= 1


def test_colours_are_the_unit_in_order_of_its_values(browser, usual):
    model, _, address = usual
    _, seen = recorded(model, VOCABULARY.encode(TEXT).tolist())
    with Visit(browser, address) as visit:
        for unit in ("layer0.cell[3]", "layer1.hidden[15]"):
            visit.page.fill("#unit", unit)
            visit.page.press("#unit", "Enter")
            levels = [int(name[1:]) for name in visit.colours()]
            group, index = unit[:-1].split("[")
            values = seen[group][:, int(index)]
            assert max(levels) == 32 and min(levels) == 0
            assert (np.diff(np.array(levels)[np.argsort(values)]) >= 0).all()
        visit.page.check("#by-surprise")
        assert not any(visit.colours())
        assert visit.page.locator("#passage .s16").count() + visit.page.locator("#passage .s12").count() > 0


def test_a_card_chooses_its_unit_and_the_address_keeps_the_view(browser, usual):
    _, data, address = usual
    unit = data["cards"][1]["unit"]
    with Visit(browser, address) as visit:
        assert visit.page.locator(".card").count() == 2
        first = visit.text(".card >> nth=0")
        for words in (
            "is on inside double quotes.",
            "0.998",
            "0.996 to 0.999",
            "0.610",
            "1.900 nats",
            "it steers",
            "12.0",
        ):
            assert words in first, words
        before = visit.colours()
        visit.page.click(".card >> nth=1 >> h3")
        assert visit.page.input_value("#unit") == unit
        assert visit.colours() != before
        assert visit.page.locator(".card.chosen").get_attribute("data-unit") == unit
        visit.page.click("#passage span >> nth=40")
        visit.page.wait_for_timeout(350)
        kept = visit.page.url
        colours, panel = visit.colours(), visit.text("#character")
        assert f"unit={unit}" in kept and "at=40" in kept
    with Visit(browser, kept) as visit:
        assert (visit.colours(), visit.text("#character")) == (colours, panel)
        assert visit.page.locator("#passage .cursor").get_attribute("data-at") == "40"


@pytest.mark.parametrize(
    "fragment",
    [
        "unit=layer9.cell[0]&at=-1&section=nowhere&temperature=x&seed=1.5&clamp=layer0.cell[99]:1&report=77",
        "unit=__proto__[0]&at=999999999&clamp=constructor[0]:1&clamp=layer0.cell[0]:Infinity&clamp=:::",
        "%%%&=&unit=%00&at=&seed=-1&temperature=99&colour=red&<script>alert(1)</script>",
    ],
    ids=["beyond", "objects", "noise"],
)
def test_what_does_not_fit_in_the_address_is_left_out(browser, usual, fragment):
    with Visit(browser, usual[2]) as plain, Visit(browser, f"{usual[2]}#{fragment}") as visit:
        assert visit.colours() == plain.colours()
        assert visit.page.input_value("#unit") == plain.page.input_value("#unit")
        assert visit.page.locator("#clamps li").count() == 0
        assert visit.page.input_value("#seed") == "1"
        assert visit.page.locator("#passage .cursor").count() == 0


def test_the_keyboard_is_enough(browser, usual):
    with Visit(browser, usual[2]) as visit:
        page = visit.page
        page.focus("#passage")
        for key in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowDown"):
            page.keyboard.press(key)
        assert page.locator("#passage .cursor").get_attribute("data-at") == str(TEXT.index("\n") + 1 + 2)
        page.keyboard.press("ArrowUp")
        assert page.locator("#passage .cursor").get_attribute("data-at") == "2"
        page.keyboard.press("End")
        assert page.locator("#passage .cursor").get_attribute("data-at") == str(len(TEXT) - 1)
        page.focus("#training-slider")
        page.keyboard.press("Home")
        assert "step 0" in visit.text("#training-when") and "wrote at 0" in visit.text("#training-sample")
        page.keyboard.press("ArrowRight")
        assert "step 100" in visit.text("#training-when") and "50 %" in visit.text("#training-facts")
        page.focus(".scatter")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
        assert page.input_value("#unit") == "layer0.input_gate[2]"
        assert "100 % above 0.9" in visit.text("#gate-plots")
        missing = "[...document.querySelectorAll('button, input, textarea, select, [tabindex=\"0\"]')].filter(e =>"
        missing += " !e.textContent.trim() && !e.getAttribute('aria-label') && !(e.labels && e.labels.length))"
        assert visit.ask(f"{missing}.map(e => e.outerHTML)") == []


def test_a_marked_passage_finds_its_units(browser, usual):
    model, _, address = usual
    _, seen = recorded(model, VOCABULARY.encode(TEXT).tolist())
    start, length = 9, 9
    inside = np.zeros(len(TEXT), bool)
    inside[start : start + length] = True
    scores = {f"{group}[{n}]": score_pair(values[:, n].astype(np.float64), inside, "yes-no", 1)
              for group, values in seen.items() for n in range(values.shape[1])}  # fmt: skip
    best = max(max(score, 1 - score) for score in scores.values())
    with Visit(browser, address) as visit:
        page = visit.page
        page.click(f"#passage span >> nth={start}")
        page.focus("#passage")
        for _ in range(length - 1):
            page.keyboard.press("Shift+ArrowRight")
        page.wait_for_selector("#marked-results li >> nth=9")
        assert page.locator("#passage .marked").count() == length
        assert "a look, not a proof" in visit.text("#marked-status")
        found = page.eval_on_selector_all("#marked-results li", "rows => rows.map(row => row.textContent)")
        for row in found:
            unit, way, score = re.fullmatch(r"(.*\])(high|low) exactly there: AUC ([\d.]+)", row).groups()
            exact = scores[unit] if way == "high" else 1 - scores[unit]
            assert float(score) == pytest.approx(exact, abs=PAGE_AUC)
        assert float(found[0].split()[-1]) == pytest.approx(best, abs=PAGE_AUC)
        page.click("#marked-few button >> nth=0")
        assert found[0].startswith(page.input_value("#unit"))
        page.keyboard.press("Escape")
        box = [page.locator(f"#passage span >> nth={at}").bounding_box() for at in (3, 7)]
        page.mouse.move(box[0]["x"] + 1, box[0]["y"] + 8)
        page.mouse.down()
        page.mouse.move(box[1]["x"] + box[1]["width"] - 1, box[1]["y"] + 8)
        page.mouse.up()
        page.wait_for_selector("#passage span.marked[data-at='5']")
        assert 4 <= page.locator("#passage .marked").count() <= 5


def test_a_word_finds_features(browser, usual):
    with Visit(browser, usual[2]) as visit:
        visit.page.fill("#fires-on", "QUOTES inside")
        assert visit.page.locator("#fires-on-results li").count() == 1
        visit.page.fill("#fires-on", "digit")
        assert "not reported: too few" in visit.text("#fires-on-results")
        visit.page.click("#fires-on-results button")
        assert visit.page.input_value("#unit") == "layer0.input_gate[1]"
        visit.page.fill("#fires-on", "zebra")
        assert "No feature" in visit.text("#fires-on-count")


def greedy(model, prompt: str, length: int, **options: Any) -> str:
    ids = VOCABULARY.encode(prompt).tolist()
    written = islice(stream(model, ids, SamplingOptions(temperature=0.0), seed=1, **options), length)
    return visible(VOCABULARY.decode(list(written)))


def test_it_follows_what_is_typed_and_writes_as_the_model_does(browser, usual):
    model, data, address = usual
    prompt = 'She said "co'
    unit = data["cards"][0]["unit"]
    with Visit(browser, address) as visit:
        page = visit.page
        page.click("#typed")
        page.keyboard.type(prompt)
        probabilities, _ = recorded(model, VOCABULARY.encode(prompt).tolist())
        check_expected(visit.expected("#typed-next"), probabilities[-1])
        assert visit.ask("document.querySelectorAll('#typed-colours span[class^=h]').length") == len(prompt)
        for _ in range(3):
            page.keyboard.press("Backspace")
        probabilities, _ = recorded(model, VOCABULARY.encode(prompt[:-3]).tolist())
        check_expected(visit.expected("#typed-next"), probabilities[-1])
        page.fill("#typed", prompt)
        page.fill("#temperature", "0")
        visit.finish_writing()
        assert visit.text("#free")[:400] == greedy(model, prompt, 400)[:400]
        assert page.is_hidden("#held-column")
        page.fill("#clamp-unit", "layer0.inputgate[1")
        page.click("#clamp-add")
        assert f"Did you mean {unit}?" in visit.text("#clamp-help")
        page.click(".card >> nth=0 >> button:has-text('Hold it')")
        assert page.locator("#clamps output").text_content() == "0.90"
        visit.finish_writing()

        def held(name: str, value_BTN: torch.Tensor) -> torch.Tensor:
            changed = value_BTN.clone()
            changed[..., 1] = 0.9
            return changed

        tap = Edit(held, pattern=re.escape("layer0.input_gate"))
        assert visit.text("#free")[:400] == greedy(model, prompt, 400)[:400]
        assert visit.text("#held")[:400] == greedy(model, prompt, 400, tap=tap)[:400]


def test_twins_share_their_random_numbers_and_part_where_a_unit_is_held(browser, usual):
    held = "clamp=layer0.cell[2]:0.5"
    with Visit(browser, f"{usual[2]}#temperature=1&seed=5&{held}&section=write") as visit:
        page = visit.page
        assert page.locator("#clamps li").count() == 1
        visit.finish_writing()
        free, twin = visit.text("#free"), visit.text("#held")
        assert free != twin
        signs = (
            "id => [...document.querySelectorAll(`#${id} span`)].map(s => [s.textContent, /differs/.test(s.className)])"
        )
        pairs = zip(visit.ask(signs, "free"), visit.ask(signs, "held"), strict=True)
        assert all((a != b) == marked for (a, _), (b, marked) in pairs)
        assert page.locator("#free .differs").count() == 0 < page.locator("#held .differs").count()
        written = visit.ask("document.querySelectorAll('#free span').length")
        quotes = page.locator("#marks tbody tr >> nth=0").locator("td").all_text_contents()
        shown = visit.ask("[...document.querySelectorAll('#free span')].filter(s => s.textContent === '\"').length")
        assert float(quotes[1]) == pytest.approx(1000 * shown / written, abs=0.051)
        assert re.search(r"computes [\d,]+ a second", visit.text("#speed"))
        page.fill("#clamps input", "0")
        page.click("#clamps button")
        assert page.locator("#clamps li").count() == 0
        page.click(".card >> nth=1 >> button:has-text('Hold it')")
        assert page.input_value("#mark") == visit.text("#marks tbody th") == "↵"
        page.fill("#mark", "␣")
        assert visit.text("#marks tbody th") == "␣"
        page.click("#clamps button")
        page.select_option("#pace", "40")
        page.click("#write-start")
        page.wait_for_selector("#free span >> nth=3")
        page.click("#write-start")
        stopped = visit.text("#free")
        page.wait_for_timeout(150)
        assert visit.text("#free") == stopped and free.startswith(stopped)


def test_nothing_in_a_text_or_a_name_can_run_or_restyle_the_page(browser, tmp_path):
    address = write(tmp_path / "page.html", made(say=HOSTILE)[2])
    with Visit(browser, f"{address}#section=training") as visit:
        page = visit.page
        page.click(".card >> nth=0 >> h3")
        page.fill("#fires-on", "a")
        page.hover(f"#passage span >> nth={len(TEXT) + 3}")
        page.fill("#typed", "<b>\u202e\x1b")
        page.fill("#temperature", "2")
        page.click(".card >> nth=0 >> button:has-text('Hold it')")
        visit.finish_writing()
        page.fill("#clamp-unit", HOSTILE.replace("\n", ""))
        page.click("#clamp-add")
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert visit.ask("window.hurt") is None
        counts = {"img": 0, "style": 1, "script": 4, "iframe": 0, "[style]": 0, "[onerror]": 0, "b.h16": 0}
        for name, count in counts.items():
            assert page.locator(name).count() == count, name
        page.fill("#typed", "")  # what somebody types is shown as they typed it
        shown = visit.ask("document.body.innerText") + visit.text("#passage") + visit.text("#free")
        assert "⟨U+202E⟩evil␛[31m⟨U+200B⟩⟨U+009B⟩{{script}}" in shown
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200b]", shown)
        attributes = "[...document.body.querySelectorAll('*')].flatMap(e => [...e.attributes].map(a => a.value)).join()"
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u200b]", visit.ask(attributes))
        assert visit.ask("getComputedStyle(document.body).display") == "block"


@pytest.mark.parametrize(("scheme", "width"), [("light", 360), ("dark", 360), ("light", 1200), ("dark", 700)])
def test_it_fits_every_screen(browser, usual, scheme, width):
    address = f"{usual[2]}#clamp=layer0.cell[2]:0.5"
    with Visit(browser, address, color_scheme=scheme, reduced_motion="reduce", has_touch=True) as visit:
        visit.page.set_viewport_size({"width": width, "height": 700})
        visit.page.tap("#passage span >> nth=5")
        assert "character 6" in visit.text("#character")
        visit.finish_writing()
        visit.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert visit.ask("document.documentElement.scrollWidth") <= width
        paper = [int(n) for n in re.findall(r"\d+", visit.ask("getComputedStyle(document.body).backgroundColor"))]
        assert (sum(paper) < 150) == (scheme == "dark")
        ratio = """() => {
            const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
            const light = (colour) => {
                canvas.fillStyle = colour;
                canvas.fillRect(0, 0, 1, 1);
                const part = (n) => (n / 255 <= 0.04045 ? n / 255 / 12.92 : ((n / 255 + 0.055) / 1.055) ** 2.4);
                const [r, g, b] = canvas.getImageData(0, 0, 1, 1).data;
                return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
            };
            return ["h0", "h8", "h16", "h24", "h32", "s0", "s16"].map((name) => {
                const span = document.querySelector("#passage span");
                span.className = `c ${name}`;
                const style = getComputedStyle(span);
                const [a, b] = [light(style.color), light(style.backgroundColor)];
                return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
            });
        }"""
        assert min(visit.ask(ratio)) >= 4.5


def test_it_runs_where_webassembly_is_forbidden(browser, usual, tmp_path):
    html = Path(usual[2].removeprefix("file://")).read_text(encoding="utf-8")
    address = write(tmp_path / "page.html", html.replace(" &#x27;wasm-unsafe-eval&#x27;", ""))
    with Visit(browser, address) as visit, Visit(browser, usual[2]) as other:
        assert visit.ask("document.documentElement.dataset.ready") == "javascript"
        assert visit.colours() == other.colours()
        visit.complaints.clear()  # the browser says that it refused


def test_a_page_whose_network_is_damaged_still_shows_what_was_found(browser, usual, tmp_path):
    html = Path(usual[2].removeprefix("file://")).read_text(encoding="utf-8")
    for name, damaged in {
        "cut": re.sub(r'(id="weights">.{1000})[^<]*', r"\1", html),
        "none": re.sub(r'(id="weights">)[^<]*', r"\1", html),
    }.items():
        with Visit(browser, write(tmp_path / f"{name}.html", damaged)) as visit:
            assert visit.ask("document.documentElement.dataset.ready") == "failed"
            assert "cannot run: expected" in visit.text("#status")
            assert visit.text("#passage") == TEXT
            assert visit.page.locator(".card").count() == 2
            visit.page.click(".card >> nth=1 >> h3")
            visit.page.click(".card >> nth=1 >> button:has-text('Hold it')")
            visit.page.click("#passage span >> nth=3")


def test_nothing_found_is_said(browser, tmp_path):
    nothing = {"cards": [], "none": "No unit holds up: 64 units were tried.", "saturation": {}, "training": []}
    address = write(tmp_path / "page.html", made(**nothing)[2])
    with Visit(browser, address) as visit:
        assert "No unit holds up" in visit.text("#cards") and "What came nearest" in visit.text("#cards")
        assert visit.page.is_hidden("#gates") and visit.page.is_hidden("#training")
        assert visit.page.is_hidden("#neurons-lead") and "Gates" not in visit.text("nav")
        visit.page.click("#cards button >> nth=0")
        assert any(visit.colours())


def many(count: int) -> list[dict[str, object]]:
    """Findings of so many units, each for a feature of its own."""
    found = []
    for number in range(count):
        unit, says = f"layer0.{('cell', 'hidden')[number % 2]}[{number // 2}]", f"inside {number}"
        sentence = f"{unit} is on {says}: AUC 0.998 (0.996 to 0.999)."
        found.append(sample.card(unit, f"inside-{number}", description=says, sentence=sentence))
    return found


def lit(visit: Visit) -> list[str]:
    return visit.page.locator("#chips [aria-pressed=true]").all_text_contents()


def test_many_cards_are_folded_and_unfold_for_who_asks(browser, tmp_path):
    address = write(tmp_path / "page.html", made(cards=many(30))[2])
    with Visit(browser, address) as visit:
        page, shown = visit.page, visit.page.locator(".card:visible")
        assert shown.count() == 12 and page.locator(".card .evidence[open]").count() == 1
        assert visit.ask("document.documentElement.scrollHeight") < 12_000
        assert visit.text("#more-cards") == "Show all 30"
        page.focus("#more-cards")
        page.keyboard.press("Enter")
        assert shown.count() == 30 and visit.ask("document.activeElement.dataset.unit") == "layer0.cell[6]"
        page.keyboard.press("Tab")
        assert "Colour the text by" in visit.ask("document.activeElement.textContent")
        page.click("#more-cards")
        assert shown.count() == 12
        page.focus(".card >> nth=4 >> summary >> nth=0")
        page.keyboard.press("Enter")
        assert page.is_visible(".card >> nth=4 >> .bars")
        page.click("#chips button >> nth=7")
        assert page.is_visible(".card >> nth=7 >> .bars") and shown.count() == 12
    with Visit(browser, f"{address}#unit=layer0.hidden[12]") as visit:
        assert visit.page.locator(".card:visible").count() == 30
        assert visit.page.is_visible(".card >> nth=25 >> .bars")
        assert visit.page.get_attribute(".card.chosen", "data-unit") == "layer0.hidden[12]"


def test_of_two_findings_of_one_unit_one_is_looked_at(browser, tmp_path):
    cards = many(3)
    cards[2]["unit"] = cards[1]["unit"]
    with Visit(browser, write(tmp_path / "page.html", made(cards=cards)[2])) as visit:
        assert lit(visit) == ["inside 0"]
        for number in (1, 2, 1):
            visit.page.click(f"#chips button >> nth={number}")
            assert lit(visit) == [f"inside {number}"] and visit.page.locator(".card.chosen").count() == 1
            assert f"inside {number}." in visit.text(".card.chosen h3")
        visit.page.click("#chips button >> nth=2")
        visit.page.wait_for_timeout(350)
        kept = visit.page.url
        visit.page.click("#unit-after")
        assert lit(visit) == []
    with Visit(browser, kept) as visit:
        assert lit(visit) == ["inside 2"]


@pytest.mark.parametrize("tried", [3, 1, 0])
def test_what_was_not_put_to_the_test_says_so(browser, tmp_path, tried):
    cards = many(3)
    for one in cards[tried:]:
        one |= {"ablation": None, "clamp": None}
    cards[0] |= {"clamp": None} if tried else {}
    with Visit(browser, write(tmp_path / "page.html", made(cards=cards)[2])) as visit:
        words = {
            3: "Then each was put to the test",
            1: "Then 1 of the 3 were put to the test",
            0: "None of them was put",
        }
        assert words[tried] in visit.text("#neurons-lead")
        told = visit.page.locator(".verdicts").all_text_contents()
        assert sum("not put to the test" in one for one in told) == 3 - tried
        assert ("steering was not tried" in told[0]) == (tried > 0)
        assert ("it mattersit steers" in told[1]) == (tried == 3)


def test_an_untrained_run_is_called_one(browser, tmp_path):
    _, data, _ = made()
    look, zeros = {**data["training"][0], "step": 0}, [0.0] * 16
    facts = {**data["facts"], "kind": "untrained", "steps": 0, "seconds": 0.0}
    gates = {"layer0.input_gate": {"left": zeros, "right": [0.005, *zeros[1:]]}}
    html = made(facts=facts, training=[look], saturation=gates, cards=[])[2]
    with Visit(browser, write(tmp_path / "page.html", html)) as visit:
        head = visit.text("header")
        assert "nothing was taught" in head and "trained for" not in head and "learned" not in head
        assert visit.text("nav") == "The textNeuronsSearchWriteMethod"
        assert "was not trained on it" not in visit.text("#text .lead")


def test_another_text_is_not_said_to_be_new_to_the_network(browser, tmp_path):
    html = made(passage={"text": TEXT, "where": "another text"})[2]
    with Visit(browser, write(tmp_path / "page.html", html)) as visit:
        assert "another text than the one that the network was trained on" in visit.text("#text .lead")
        assert "9,000 characters of another text" in visit.text("#method-searched")
        assert "not trained on" not in visit.ask("document.body.innerText")
    with Visit(browser, write(tmp_path / "own.html", made()[2])) as visit:
        assert "This is from the test part. The network was not trained on it." in visit.text("#text .lead")


def test_a_seed_that_is_none_does_not_stay_in_its_field(browser, usual):
    with Visit(browser, usual[2]) as visit:
        visit.page.fill("#seed", "7")
        for wrong in ("-5", "1.5", ""):
            visit.page.fill("#seed", wrong)
            assert "a whole number, 0 or more; it stays 7" in visit.text("#seed-help")
            visit.page.press("#seed", "Tab")
            assert visit.page.input_value("#seed") == "7"
        visit.page.fill("#seed", "0")
        assert visit.text("#seed-help") == ""


def test_who_has_no_mouse_is_told_how_to_mark(browser, usual):
    with Visit(browser, usual[2], has_touch=True, is_mobile=True) as visit:
        assert "hold a finger" in visit.text("#marked-status") and "mouse" not in visit.text("#marked-status")


def test_what_programmers_call_not_a_number_is_said_in_words(browser, tmp_path):
    says = "how many characters are left; undefined (NaN) where no more newline comes"
    feature = {"name": "left", "description": says, "kind": "number", "unit": "layer0.cell[1]", "score": 0.5}
    html = made(features=[{**feature, "holds": False, "against": []}])[2]
    with Visit(browser, write(tmp_path / "page.html", html)) as visit:
        assert "left (not counted where no more newline comes)" in visit.text("#fires-on-results")
        assert "NaN" not in visit.ask("document.querySelector('main').textContent")


@pytest.fixture(scope="module")
def parity(tmp_path_factory) -> str:
    """The address of the page of a compiled machine, every unit of which is a group of its own."""
    from unrolled.cli import run as command

    where = tmp_path_factory.mktemp("parity")
    there = str(where / "parity")
    assert command(["machine", "compile", "parity", "--out", there]) == 0
    words = ["--features", f"{there}/features.py", "--no-proof", "--page", f"{there}.html"]
    assert command(["neurons", there, *words]) == 0
    return (where / "parity.html").as_uri()


def test_the_units_of_a_compiled_machine_colour_the_text(browser, parity):
    with Visit(browser, f"{parity}#unit=layer0.state.odd&at=2") as visit:
        page = visit.page
        colours = set(visit.colours())
        assert {"h0", "h32"} <= colours and "" not in colours
        assert visit.text("#passage-legend") == "0.001.00"
        assert re.search(r"layer0\.state\.odd[01]\.00", visit.text("#character"))
        page.fill("#unit", "layer0.state.odd[0]")
        page.press("#unit", "Enter")
        assert page.input_value("#unit") == "layer0.state.odd" and visit.text("#unit-help") == ""
        units = list(json.loads(visit.text("#data"))["units"])
        assert len(units) > 5
        at = units.index("layer0.state.odd")
        for step in range(1, len(units) + 1):
            page.click("#unit-after")
            assert page.input_value("#unit") == units[(at + step) % len(units)]
        page.click("#unit-before")
        assert page.input_value("#unit") == units[at - 1]
        page.click("#clamp-add")
        assert units[at - 1] in visit.text("#clamps")
        page.fill("#typed", "101")
        page.wait_for_function(
            "document.querySelector('#typed-next').textContent.includes(document.querySelector('#unit').value)"
        )


def test_a_compiled_machine_is_not_said_to_have_learned(browser, parity):
    with Visit(browser, parity) as visit:
        head = visit.text("header")
        assert "A machine, compiled into a network of" in head
        assert "trained for" not in head and "learned" not in head
        assert visit.text("nav") == "The textNeuronsSearchWriteMethod"
        assert visit.text("#command") == "It was compiled with unrolled machine compile"
        assert "the machine's own work" in visit.text("#text .lead")
        assert "None of them was put to the test" in visit.text("#neurons-lead")


def test_the_arrows_go_on_in_the_next_group(browser, usual):
    model, _, address = usual
    groups = list(model.units)
    last = f"{groups[0]}[{model.units[groups[0]] - 1}]"
    with Visit(browser, f"{address}#unit={last}") as visit:
        for button, unit in (("after", f"{groups[1]}[0]"), ("before", last)):
            visit.page.click(f"#unit-{button}")
            assert visit.page.input_value("#unit") == unit
        visit.page.fill("#unit", f"{groups[0]}[0]")
        visit.page.press("#unit", "Enter")
        visit.page.click("#unit-before")
        assert visit.page.input_value("#unit") == f"{groups[-1]}[{model.units[groups[-1]] - 1}]"


@pytest.mark.parametrize("pattern", ["transformer(heads=2,window=9) wavenet", "mingru tcn rnn"])
def test_every_family_reads(browser, pattern, tmp_path):
    model, _, html = made(pattern)
    probabilities, _ = recorded(model, VOCABULARY.encode(TEXT).tolist())
    with Visit(browser, f"{write(tmp_path / 'page.html', html)}#at=100") as visit:
        check_expected(visit.expected("#character"), probabilities[100])


def test_a_model_of_bytes(browser, tmp_path):
    text = "naïve — déjà\n" * 5
    vocabulary = Vocabulary("bytes", ("\ufffd", *(chr(byte) for byte in range(256))))
    model, _, html = made("gru", vocabulary, passage={"text": text, "where": ""})
    ids = vocabulary.encode(text).tolist()
    probabilities, _ = recorded(model, ids)
    at = text.index("—")
    end = len(text[: at + 1].encode())
    with Visit(browser, f"{write(tmp_path / 'page.html', html)}#at={at}") as visit:
        found = [probability for _, probability in visit.expected("#character")]
        assert found == pytest.approx(probabilities[end - 1].topk(5).values.tolist(), abs=ENGINE32)
        bits = -sum(float(probabilities[k - 1, ids[k]].log2()) for k in range(end - 3, end))
        assert f"{bits:.1f} bits" in visit.text("#character")
        visit.page.fill("#typed", "é")
        visit.finish_writing()
        assert visit.ask("document.querySelectorAll('#free span').length") > 1000


# ---------------------------------------------------------------------------------------------------- without a browser


def test_the_script_is_one_module_and_the_page_a_closed_house(tmp_path):
    script = bundle.script()
    (tmp_path / "page.mjs").write_text(script, encoding="utf-8")
    subprocess.run([tool("node", "nodejs"), "--check", tmp_path / "page.mjs"], check=True)
    assert not re.search(r"^\s*(import|export)\b", script, re.MULTILINE)
    assert "</" not in re.sub(r"//.*", "", script)
    listed = {f"{name}.js" for name in bundle.MODULES}
    assert listed == {path.name for path in bundle.FOLDER.glob("*.js")}
    for name in bundle.MODULES:
        source = (bundle.FOLDER / f"{name}.js").read_text(encoding="utf-8")
        assert source.startswith("// ") and "Knows nothing about" in source, name
        if name != "engine":
            assert len(source.splitlines()) <= 400 and max(map(len, source.splitlines())) <= 120, name
        for word in (r"innerHTML", r"outerHTML", r"insertAdjacent", r"document\.write", r"\beval\(", r"new Function",
                     r"\bfetch\(", r"XMLHttpRequest", r"WebSocket", r"\bimport\(", r"localStorage", r"cookie",
                     r"""["']style["']"""):  # fmt: skip
            assert not re.search(word, source), (name, word)
        for imported in re.findall(r'from "\./(\w+)\.js"', source):
            assert bundle.MODULES.index(imported) < bundle.MODULES.index(name), (name, imported)
    assert not re.search(r"url\(|@import|@font-face", bundle.style())
    for name in bundle.PLACEHOLDERS:
        assert bundle.skeleton().count(f"{{{{{name}}}}}") == 1, name
    assert not re.search(r"""\s(style|on\w+|src|srcset)=|href="(?!#)""", bundle.skeleton())


def test_placeholders_are_filled_once():
    parts = {name: f"[{name} {{{{script}}}}]" for name in bundle.PLACEHOLDERS}
    page = bundle.filled(parts)
    assert all(page.count(part) == 1 for part in parts.values())
    with pytest.raises(KeyError):
        bundle.filled({})


def test_what_is_visible_is_the_same_in_both_languages():
    categories = {code: unicodedata.category(chr(code)) for code in range(0x110000)}
    # What Python's tables do not know yet, others may; private use and surrogates are many of one kind.
    codes = [code for code, name in categories.items() if name not in ("Cn", "Co", "Cs")]
    codes += [0xE000, 0xF8FF, 0xF0000, 0x10FFFD]
    texts = [(chr(code), "") for code in codes]
    choose = random.Random(5)
    marks = [code for code, name in categories.items() if name[0] == "M"]
    for _ in range(2000):
        piece = "".join(
            chr(choose.choice([0x61, 0x20, 0x0A, 0x1B, 0x202E, *choose.sample(marks, 6)])) for _ in range(12)
        )
        cut = choose.randrange(13)
        texts += [(piece, ""), (piece[cut:], piece[:cut])]
    done = subprocess.run(
        [tool("node", "nodejs"), HERE / "pages" / "display.mjs"],
        input=json.dumps(texts), capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout)
    wrong = [(text, after, answer) for (text, after), answer in zip(texts, found, strict=True)
             if answer != visible(text, after=after)]  # fmt: skip
    assert wrong == []


def test_the_sample_is_what_pages_are_told():
    """The keys that this file writes by hand are those that the builder writes."""
    from unrolled.neurons.findings import Ablation, Candidate, Clamp

    card = sample.card("layer0.cell[1]")
    assert set(Candidate.__dataclass_fields__) <= set(card)
    assert set(card["ablation"]) == set(Ablation.__dataclass_fields__)
    assert set(card["clamp"]) == set(Clamp.__dataclass_fields__)
