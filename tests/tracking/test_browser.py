"""What a person sees of a finished experiment in MLflow's UI, in Debian's Chromium without a screen.

`raypose ui` serves what the real mirror has written. Without Chromium and its driver nothing can be seen, and the tests
are skipped; `.ci/run` installs both, or says that it cannot.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, TimeoutException, WebDriverException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from raypose.space.knobs import Value
from raypose.tracking.client import connect
from raypose.tracking.mirror import Mirror
from raypose.tracking.registry import model_name
from raypose.tracking.store import Store
from tests.tracking.conftest import Record
from tests.tracking.test_ui import free_port

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="no browser: apt-get install chromium chromium-driver, as .ci/run does"
)
KNOBS: list[dict[str, Value]] = [
    {"lr": 0.004, "freeze": "none", "optim_wrapper.optimizer.weight_decay": 0.05},
    {"lr": 0.001, "freeze": "stem", "optim_wrapper.optimizer.weight_decay": 0.0},
    {"lr": 0.016, "freeze": "backbone", "optim_wrapper.optimizer.weight_decay": 0.1},
]
FIGURES = [(20.0, 40.0), (30.5, 45.5), (10.0, 5.0)]
SLOW_S = 120.0
ARGUMENTS = (
    *("--headless=new", "--window-size=1500,1000", "--hide-scrollbars", "--no-proxy-server", "--disable-dev-shm-usage"),
    "--no-sandbox",  # which root cannot have; it visits our own pages only
)
TABLE = """
const named = {}, rows = {};
document.querySelectorAll('.ag-header-cell').forEach(title => {
    named[title.getAttribute('col-id')] = title.innerText.trim();
});
document.querySelectorAll('.ag-row').forEach(row => {
    const cells = rows[row.getAttribute('row-index')] ??= {};
    row.querySelectorAll('.ag-cell').forEach(cell => cells[named[cell.getAttribute('col-id')]] = cell.innerText.trim());
});
return Object.keys(rows).sort((a, b) => a - b).map(index => rows[index]);
"""


class Page:
    """The browser, and how long it may take until something is there."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, address: str) -> None:
        """Another address; as only what follows the # may differ, an empty page comes between."""
        self.driver.get("about:blank")
        try:
            self.driver.get(address)
        except WebDriverException as fault:
            raise AssertionError(f"{address}: {fault.msg}") from fault

    def until(self, found: Callable[[], Any]) -> Any:
        """What `found` returns, as soon as that is something."""
        waiting = WebDriverWait(self.driver, SLOW_S, ignored_exceptions=[StaleElementReferenceException])
        try:
            return waiting.until(lambda _: found())
        except TimeoutException as fault:
            raise AssertionError(f"only this was seen:\n{self.text}") from fault

    @property
    def text(self) -> str:
        """All that a person can read."""
        return self.driver.find_element(By.TAG_NAME, "body").text

    def shows(self, *texts: str) -> None:
        """Wait until all of these can be read."""
        self.until(lambda: all(text in self.text for text in texts))

    def all(self, selector: str) -> list[WebElement]:
        """Elements by a CSS selector."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def link(self, text: str) -> str:
        """Where the first link with this text in it leads to."""
        found = self.until(lambda: self.driver.find_elements(By.PARTIAL_LINK_TEXT, text))
        return str(found[0].get_attribute("href"))

    def rows(self, count: int) -> list[dict[str, str]]:
        """The table of runs, each row by the titles of its columns, once it has so many rows."""
        self.until(lambda: len(self.driver.execute_script(TABLE)) == count and "best_PCK_0.1" in self.text)
        rows: list[dict[str, str]] = self.driver.execute_script(TABLE)
        return rows


@pytest.fixture(scope="module")
def record(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Record:
    """A finished experiment of three trials, mirrored."""
    record = Record(tmp_path_factory.mktemp("browser") / "seen")
    record.view.spec["space"] = {key: {} for key in KNOBS[0]}
    for values, figures in zip(KNOBS, FIGURES, strict=True):
        number = record.begin(values)
        for figure in figures:
            record.epoch(number, figure)
        record.end(number, "pruned" if number == 2 else "complete")
    Mirror(store).sync(record.become("finished"))
    return record


@contextmanager
def served(mlruns: Path) -> Iterator[list[str]]:
    """What `raypose ui` prints: the addresses of the trials, the charts and the champions."""
    command = [sys.executable, "-m", "raypose", "ui", "--mlruns", str(mlruns), "--port", str(free_port())]
    server = subprocess.Popen(command, text=True, stdout=subprocess.PIPE)
    assert server.stdout
    lines = [server.stdout.readline().strip() for _ in range(4)]
    try:
        yield [line.split(": ", 1)[1] for line in lines[1:]]
        assert server.poll() is None, "it has ended by itself; what it said is in what was captured"
    finally:
        server.terminate()
        server.communicate()


@contextmanager
def chromium() -> Iterator[Page]:
    """A browser that has never been here before."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ARGUMENTS:
        options.add_argument(argument)
    with webdriver.Chrome(options, Service(DRIVER)) as driver:
        yield Page(driver)


@pytest.fixture(scope="module")
def addresses(store: Store, record: Record) -> Iterator[list[str]]:
    assert store.database
    with served(store.database.parent) as printed:
        yield printed


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with chromium() as page:
        yield page


def test_the_table_shows_knobs_against_the_metric_best_first(page: Page, addresses: list[str]) -> None:
    page.open(addresses[0])
    rows = page.rows(3)
    assert [row["best_PCK_0.1"] for row in rows] == ["45.5", "40", "10"]
    assert [row["lr"] for row in rows] == ["0.001", "0.004", "0.016"]
    assert [row["freeze"] for row in rows] == ["stem", "none", "backbone"]
    assert [row["optim_wrapper.optimizer.weight_decay"] for row in rows] == ["0.0", "0.05", "0.1"]
    assert [row["raypose.state"] for row in rows] == ["complete", "complete", "pruned"]
    assert "trial 1: lr 0.001, freeze stem, weight_decay 0" in rows[0]["Run Name"]


def test_trials_fold_under_their_study(page: Page, addresses: list[str]) -> None:
    page.open(addresses[0].replace("raypose-trials", "raypose-study"))
    (study,) = page.rows(1)
    assert "seen" in study["Run Name"] and study["best_PCK_0.1"] == "45.5"
    page.all(".ag-row .ag-cell [data-component-id*=runnamecellrenderer]")[0].click()
    assert ["trial" in row["Run Name"] for row in page.rows(4)] == [False, True, True, True]


def test_the_charts_show_all_knobs_and_each_against_the_metric(page: Page, addresses: list[str]) -> None:
    page.open(addresses[1])
    page.shows("All knobs and best_PCK_0.1", "lr vs. best_PCK_0.1", "freeze vs. best_PCK_0.1")
    axes = page.until(lambda: [label.text for label in page.all(".parcoords .axis .label")])
    assert axes == ["lr", "freeze", "optim_..._decay", "best_PCK_0.1"]


def test_trials_are_compared_in_parallel_coordinates(page: Page, addresses: list[str]) -> None:
    page.open(addresses[0])
    page.rows(3)
    page.all("input[aria-label='Select all runs']")[0].click()
    page.until(lambda: [button for button in page.all("button") if button.text == "Compare"])[0].click()
    page.shows("Comparing 3 Runs from 1 Experiment", "Parallel Coordinates Plot", "45.5")
    axes = {label.text for label in page.until(lambda: page.all(".js-plotly-plot .axis-title"))}
    assert axes == {*KNOBS[0], "best_PCK_0.1"}


def test_artifacts_open(page: Page, addresses: list[str]) -> None:
    page.open(addresses[0])
    page.rows(3)
    page.open(f"{page.link('trial 1')}/artifacts")
    page.shows("checkpoint", "config.py")
    page.driver.find_element(By.XPATH, "//*[text()='config.py']").click()
    page.shows("trial = 1")


def test_the_champion_is_shown_with_its_lineage(page: Page, addresses: list[str], record: Record, store: Store) -> None:
    name = model_name(record.view)
    page.open(addresses[2])
    page.shows(name, "@ champion")
    page.open(page.link(name))
    page.shows("Winners of experiments that fine-tune rtmpose-n on demo", "@ champion")
    page.open(page.link("Version"))
    page.shows("trial 1: lr 0.001, freeze stem", "raypose.experiment", "raypose.knobs", '"freeze": "stem"', "45.5")
    page.open(page.link("trial 1"))
    page.shows("Registered models", name)
    assert connect(store).get_model_version_by_alias(name, "champion").tags["raypose.trial"] == "1"
