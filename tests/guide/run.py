"""The guide's commands, run as written: `python -m tests.guide.run` keeps anew what they print, and the pictures.

The archives, which a reader downloads, hold drawn people here. Of many lines of trials the middle is left
out. The pictures need Chromium, as test_browser does.
"""

import os
import re
import shlex
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from PIL import Image

import raypose
from raypose.datasets.demo import render_demo
from tests.tracking.test_browser import chromium

GUIDE = Path(raypose.__file__).parent / "guide"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (\S+\.yaml)\n")
HERE = "~/pose"
SOME, WIDTH = 4, 1000  # lines; pixels of a picture
SLOW_S = 1200


def make_archives(folder: Path, train: int, val: int) -> None:
    """As MPII and MMPose give them, of drawn people."""
    with tempfile.TemporaryDirectory() as made:
        render_demo(Path(made) / "drawn", train=train, val=val)
        with tarfile.open(folder / "mpii_human_pose_v1.tar.gz", "w:gz", compresslevel=1) as archive:
            archive.add(Path(made) / "drawn" / "images", "images")
        with tarfile.open(folder / "mpii_annotations.tar", "w") as archive:
            for file in sorted((Path(made) / "drawn" / "annotations").iterdir()):
                archive.add(file, file.name)


def steps(text: str) -> Iterator[tuple[str, str]]:
    """Of each command of the guide its line and the output shown; on the way a file's name and content."""
    for kind, content in BLOCK.findall(text):
        if kind == "yaml" and (named := FILE.match(content)):
            yield named[1], content
        elif content.startswith("$ "):
            command, _, shown = content.removeprefix("$ ").partition("\n")
            yield command, shown


def do(step: str, content: str, folder: Path) -> str:
    """Write the file, or run the command; returns what it prints, without the folder that it runs in."""
    if not step.startswith("raypose "):
        (folder / step).write_text(content)
        return content
    command = [sys.executable, "-m", "raypose", *shlex.split(step)[1:]]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(folder / ".cache")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SLOW_S,
        check=False,
    )
    assert done.returncode == 0, f"{step}: exit code {done.returncode}\n{done.stdout}"
    return "".join(f"{line.rstrip()}\n" for line in done.stdout.replace(str(folder), HERE).splitlines())


def shortened(output: str) -> str:
    """Of what is told of trials line after line the beginning and the end."""
    kept: list[str] = []
    for of_trials, group in groupby(output.splitlines(keepends=True), lambda line: line.startswith("trial ")):
        lines = [*group]
        kept += [*lines[:SOME], "...\n", *lines[-SOME:]] if of_trials and len(lines) > 2 * SOME else lines
    return "".join(kept)


def take_pictures(folder: Path) -> None:
    """Sheets, predictions and the report as a reader sees them, small and in few colours."""
    page_of_report = (folder / "mlruns/experiments/first/report.html").read_text()
    with chromium() as page, tempfile.TemporaryDirectory() as shots:
        (Path(shots) / "report.html").write_text(page_of_report.replace(str(folder), HERE))
        page.open((Path(shots) / "report.html").as_uri())
        page.driver.set_window_size(1400, 1800)
        page.until(lambda: page.all(".plotly .main-svg"))
        report = Path(shots) / "report.png"
        page.driver.save_screenshot(str(report))
        sheets = {"people": "browse/original-1.png", "seen": "browse/transformed-1.png", "worst": "browse/worst-1.png"}
        for name, source in {**sheets, "report": str(report)}.items():
            picture = Image.open(folder / source).convert("RGB")
            small = picture.resize((WIDTH, round(picture.height * WIDTH / picture.width)), Image.Resampling.LANCZOS)
            small.quantize(96).save(GUIDE / f"{name}.png", optimize=True)


def main() -> None:
    """Run the guide on as many people as the demo set has, and keep what they print."""
    readme = GUIDE / "README.md"
    text = readme.read_text()
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home).resolve()
        make_archives(folder, 800, 200)
        for step, shown in steps(text):
            output = do(step, shown, folder)
            if step.startswith("raypose "):
                text = text.replace(f"$ {step}\n{shown}", f"$ {step}\n{shortened(output)}", 1)
                readme.write_text(text)
        take_pictures(folder)


if __name__ == "__main__":
    main()
