# SPDX-License-Identifier: Apache-2.0
"""Every command works from a folder that has nothing to do with the bundle, by the path of its config alone."""

import json

import pytest
import torch

from bundle.tools.packing import NAME

# each command in a process of its own, which has not seen the bundle's package
APART = """
import os, warnings
import torch
from monai.bundle import ConfigWorkflow, ckpt_export, onnx_export, run, verify_net_in_out
warnings.simplefilter("ignore")
import importlib.util
assert importlib.util.find_spec("bundle") is None
root, dataset, given = sys.argv[1:]
keys = {"bundle_root": root} if given == "given" else {}
file = lambda name: os.path.join(root, name)
def apart(command, *arguments, **settings):
    if (child := os.fork()) == 0:
        status = 1
        try:
            command(*arguments, **settings, **keys)
            status = 0
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, (command, arguments)
"""
CHECK = """
def check(stage, workflow_type, **settings):
    flow = ConfigWorkflow(config_file=file(f"configs/{stage}.yaml"), workflow_type=workflow_type, **settings)
    flow.initialize()
    print("checked", json.dumps([stage, flow.bundle_root, flow.check_properties()]))
import json
for stage in ("train", "evaluate", "inference"):
    apart(check, stage, "train" if stage == "train" else "infer", dataset_dir=dataset, output_dir="out")
"""
RUN = """
tiny = dict(patch_size=24, batch_size=2, epoch_length=2, n_critic=1, max_epochs=1, validate_slices=1)
data = dict(dataset_dir=dataset)
subjects = dict(test_subjects=["D"], validate_subjects=["C"])
inference, train, meta = file("configs/inference.yaml"), file("configs/train.yaml"), file("configs/metadata.json")
weights = dict(ckpt_file=file("models/model.pt"), config_file=inference, meta_file=meta)
apart(run, "training", config_file=train, output_dir="trained", **data, **subjects, **tiny)
apart(run, "evaluating", config_file=file("configs/evaluate.yaml"), training_dir="trained", **data)
apart(run, "inference", config_file=inference, output_dir="out", low_res="zero_filled", **data)
apart(verify_net_in_out, net_id="network_def", config_file=inference, meta_file=meta, device="cpu")
apart(ckpt_export, net_id="network_def", filepath="model.ts", **weights)
apart(onnx_export, args_file=file("configs/onnx_export.yaml"), filepath="model.onnx", **weights)
"""


@pytest.mark.parametrize("given", ["alone", "given"])
def test_check_properties_names_what_is_missing_where_there_are_no_data(given, zoo, script, tmp_path) -> None:
    done = script(APART + CHECK, zoo / NAME, tmp_path / "nowhere", given, cwd=tmp_path)
    lines = [line.removeprefix("checked ") for line in done.stdout.splitlines() if line.startswith("checked ")]
    root = str(zoo / NAME)
    assert [json.loads(line) for line in lines] == [
        ["train", root, ["trainer", "train_dataset"]],
        ["evaluate", root, ["dataset", "evaluator"]],
        ["inference", root, ["dataset", "evaluator"]],
    ]
    assert f"no dataset: dataset_dir {tmp_path / 'nowhere'} does not exist; name an existing folder." in done.stderr
    assert "ConfigExpression" not in done.stdout + done.stderr


@pytest.mark.long
@pytest.mark.parametrize("given", ["alone", "given"])
def test_every_run_and_export_works_from_an_unrelated_folder(given, zoo, script, small_dataset, tmp_path) -> None:
    before = {path for path in zoo.rglob("*") if "__pycache__" not in path.parts}
    script(APART + RUN, zoo / NAME, small_dataset, given, cwd=tmp_path)
    assert (tmp_path / "trained" / "evaluation" / "table.md").is_file()
    assert (tmp_path / "out" / "sub-A_sr.nii.gz").is_file()
    assert torch.jit.load(tmp_path / "model.ts")(torch.rand(1, 2, 17, 18)).shape == (1, 1, 17, 18)
    assert (tmp_path / "model.onnx").is_file()
    assert {path for path in zoo.rglob("*") if "__pycache__" not in path.parts} == before
