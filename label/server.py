# SPDX-License-Identifier: Apache-2.0
"""Start MONAI Label's own server on this bundle, and ask it as any client does."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = ROOT / ".venv-label"
MODEL = "mcsr"
"""Name under which the server offers the bundle: that of its folder."""
SECONDS_TO_START = 180


@dataclass
class Answer:
    """What the server says.

    Attributes:
        status: of HTTP; 200 where all is well.
        body: a file, JSON, or why not.
    """

    status: int
    body: bytes

    @property
    def detail(self) -> str:
        """Return why a request was refused."""
        return str(json.loads(self.body)["detail"])


@dataclass
class Server:
    """A running server."""

    url: str

    def get(self, path: str) -> Any:
        """Return the JSON at a path, such as ``/info/``."""
        with urllib.request.urlopen(f"{self.url}{path}") as answer:
            return json.load(answer)

    def infer(self, image: str, output: str = "image", **params: Any) -> Answer:
        """Super-resolve an image of the studies.

        Args:
            image: its id, the file's name without the ending of its format.
            output: ``image`` for the file, ``json`` for what was found.
            params: of the request, such as ``reference``.
        """
        query = urllib.parse.urlencode({"image": image, "output": output})
        form = urllib.parse.urlencode({"params": json.dumps(params)}).encode()
        try:
            with urllib.request.urlopen(f"{self.url}/infer/{MODEL}?{query}", form) as answer:
                return Answer(answer.status, answer.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.read())


def make_app(folder: Path, weights: Path) -> Path:
    """Copy MONAI Label's app for bundles into a new folder, and this bundle with some weights into the app.

    Args:
        folder: the app's folder; one that is there is replaced.
        weights: file of the weights; its training record beside it comes along.
    """
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ENVIRONMENT / "monailabel" / "sample-apps" / "monaibundle", folder)
    model = folder / "model" / MODEL
    for name in ("bundle", "configs"):
        shutil.copytree(ROOT / name, model / name, ignore=shutil.ignore_patterns("__pycache__"))
    (model / "models").mkdir()
    shutil.copy(weights, model / "models" / "model.pt")
    if weights.with_suffix(".json").is_file():
        shutil.copy(weights.with_suffix(".json"), model / "models" / "model.json")
    return folder


@contextlib.contextmanager
def running(app: Path, studies: Path) -> Iterator[Server]:
    """Start a server, wait until it answers, and stop it at the end; its messages go to ``server.log`` in the app."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(ENVIRONMENT / "bin" / "python"), "-m", "monailabel.main", "start_server"]
    command += ["--app", str(app), "--studies", str(studies), "--host", "127.0.0.1", "--port", str(port)]
    # offline: no model zoo, no SAM 2; and no training, which the bundle does not offer here
    for key, value in {"models": MODEL, "zoo_source": "local", "sam2": "false", "skip_trainers": "true"}.items():
        command += ["--conf", key, value]
    log = app / "server.log"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    with (
        log.open("wb") as stream,
        subprocess.Popen(command, cwd=app, stdout=stream, stderr=stream, env=environment) as process,
    ):
        try:
            yield _started(Server(f"http://127.0.0.1:{port}"), process, log)
        finally:
            process.terminate()


def _started(server: Server, process: subprocess.Popen[bytes], log: Path) -> Server:
    """Wait until a server answers."""
    deadline = time.monotonic() + SECONDS_TO_START
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            server.get("/info/")
            return server
        time.sleep(0.5)
    raise RuntimeError(f"MONAI Label did not start; its messages are in {log}")
