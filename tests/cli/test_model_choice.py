# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from bundle.cli.model_choice import named_weights
from bundle.config_files import Expression
from bundle.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "several").mkdir()
    for name in ("other.pt", "model.pt", "record.json"):
        (tmp_path / "several" / name).touch()
    return tmp_path


def test_a_file_is_itself_and_so_is_an_expression(folder: Path) -> None:
    file = str(folder / "several" / "other.pt")
    assert named_weights(file, folder) == file
    expression = Expression("$@training_dir + '/model.pt'")
    assert named_weights(expression, folder) is expression


def test_a_folder_is_its_only_weights_or_those_called_model(folder: Path) -> None:
    assert named_weights(str(folder / "several"), folder) == str(folder / "several" / "model.pt")
    (folder / "several" / "model.pt").unlink()
    assert named_weights(str(folder / "several"), folder) == str(folder / "several" / "other.pt")


def test_a_folder_that_tells_nothing_is_refused(folder: Path) -> None:
    (folder / "several" / "model.pt").rename(folder / "several" / "more.pt")
    with pytest.raises(InputError, match=r"it holds more\.pt, other\.pt; name one of them as --model"):
        named_weights(str(folder / "several"), folder)
    (folder / "empty").mkdir()
    with pytest.raises(InputError, match=r"no \.pt file is in it"):
        named_weights(str(folder / "empty"), folder)


@pytest.mark.parametrize("name", ["other", "other.pt"])
def test_a_name_is_one_of_the_bundle_s(name: str, folder: Path, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    assert named_weights(name, folder / "several") == str(folder / "several" / "other.pt")
    with pytest.raises(InputError, match="one of the bundle's: model, other"):
        named_weights("none", folder / "several")
