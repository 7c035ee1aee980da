# SPDX-License-Identifier: Apache-2.0
"""The bundle as a MONAI Deploy application: DICOM studies in, a derived DICOM series of each out."""

import argparse
import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from monai.bundle import run
from monai.deploy.conditions import CountCondition
from monai.deploy.core import Application, Operator, OperatorSpec
from monai.deploy.operators import DICOMDataLoaderOperator, DICOMSeriesSelectorOperator

from bundle.config_files import bundle_root

ROLES: Final = ("target", "reference")
RULES: Final = {  # regular expressions on attributes of a series, as DICOMSeriesSelectorOperator reads them
    "target": {"Modality": "MR", "SeriesDescription": "(?i)^(?!.*SR, research only).*T2"},
    "reference": {"Modality": "MR", "SeriesDescription": "(?i)^.*(T1|PD)"},
}


class SharpenOperator(Operator):
    """Sharpen the target of each study by its reference, or alone, and write the result as a DICOM series.

    Named inputs ``target`` and ``reference``: lists of StudySelectedSeries. It runs ``configs/inference.yaml``, with
    all that belongs to it: registration, checks, data consistency, page and record beside each series.
    """

    def __init__(self, fragment: Application, *args: Any, output_folder: Path, **kwargs: Any) -> None:
        self.output_folder = output_folder
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the inputs."""
        for role in ROLES:
            spec.input(role)

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Sharpen one study after the other; ``ValueError`` where no study has a target."""
        targets, references = (by_study(op_input.receive(role)) for role in ROLES)
        if not targets:
            raise ValueError(f"no series is a target by the rules {RULES['target']}; give others by --rules FILE.")
        for study, target in targets.items():
            with tempfile.TemporaryDirectory() as folder:
                chosen = {"image": linked(target, Path(folder, study, "target"))}
                if study in references:
                    chosen["reference"] = linked(references[study], Path(folder, study, "reference"))
                run(
                    "inference",
                    config_file=str(bundle_root() / "configs" / "inference.yaml"),
                    output_dir=str(self.output_folder),
                    dicom=True,
                    **chosen,
                )


class SuperResolutionApp(Application):
    """Load studies, select target and reference by rules, sharpen, write."""

    def __init__(self, input_folder: Path, output_folder: Path, rules: dict[str, dict[str, Any]]) -> None:
        self.input_folder, self.output_folder, self.rules = input_folder, output_folder, rules
        super().__init__(["app.py"])  # the command line is read below

    def compose(self) -> None:
        """Connect the operators."""
        loader = DICOMDataLoaderOperator(self, CountCondition(self, 1), input_folder=self.input_folder, name="loader")
        sharpen = SharpenOperator(self, output_folder=self.output_folder, name="sharpen")
        for role in ROLES:
            selections = {"selections": [{"name": role, "conditions": self.rules[role]}]}
            selector = DICOMSeriesSelectorOperator(self, rules=json.dumps(selections), name=f"{role}_selector")
            self.add_flow(loader, selector, {("dicom_study_list", "dicom_study_list")})
            self.add_flow(selector, sharpen, {("study_selected_series_list", role)})


def by_study(selected: Iterable[Any] | None) -> dict[str, Any]:
    """Return the first selected series of each study by the study's UID."""
    return {one.study.StudyInstanceUID: one.selected_series[0].series for one in selected or () if one.selected_series}


def linked(series: Any, folder: Path) -> str:
    """Return a folder that holds links to a series' files alone."""
    folder.mkdir(parents=True)
    for index, instance in enumerate(series.get_sop_instances()):
        (folder / f"{index:05d}.dcm").symlink_to(Path(instance.get_native_sop_instance().filename).resolve())
    return str(folder)


def main() -> None:
    """Run the application on a folder of studies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-i", "--input", type=Path, required=True, help="folder of DICOM studies")
    parser.add_argument("-o", "--output", type=Path, required=True, help="where the derived series go")
    parser.add_argument("--rules", type=Path, help="JSON with conditions for target and reference, in place of RULES")
    options = parser.parse_args()
    rules = RULES | (json.loads(options.rules.read_text(encoding="utf-8")) if options.rules else {})
    SuperResolutionApp(options.input.resolve(), options.output.resolve(), rules).run()


if __name__ == "__main__":
    main()
