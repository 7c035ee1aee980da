# SPDX-License-Identifier: Apache-2.0
"""The unit tests that a reviewer copies into the Zoo, run there; and TensorRT as far as it goes without."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bundle.tools.packing import NAME

ROOT = Path(__file__).parents[2]


@pytest.mark.long
@pytest.mark.parametrize("file", [f"test_{NAME}.py", f"test_{NAME}_dist.py"])
def test_the_unit_tests_for_the_zoo_pass_in_the_zoo(file, zoo) -> None:
    shutil.copytree(ROOT / "ci" / "unit_tests", zoo.parent / "ci" / "unit_tests", dirs_exist_ok=True)
    hidden = "import runpy, sys; sys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in f.__module__]\n"
    run = hidden + "sys.path.insert(0, 'ci/unit_tests'); runpy.run_path(sys.argv.pop(), run_name='__main__')"
    words = [sys.executable, "-W", "ignore", "-c", run, f"ci/unit_tests/{file}"]
    # the processes that it starts would find a checkout that is installed
    environment = os.environ | ({"PYTHONPATH": str(zoo / NAME)} if "_dist" in file else {})
    done = subprocess.run(words, cwd=zoo.parent, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\nOK" in done.stderr


ENGINE = """
import types
import torch
from monai.bundle import run, scripts
root, image, reference = sys.argv[1:]
def convert(model, precision, input_shape, dynamic_batchsize, use_onnx, use_trace, **_):
    assert (precision, input_shape, dynamic_batchsize) == ("fp32", [1, 2, 48, 40], [1, 8, 16])
    return torch.jit.script(model.eval())
scripts.convert_to_trt = convert
sys.modules["torch_tensorrt"] = types.ModuleType("torch_tensorrt")
config = root + "/configs/inference.yaml"
scripts.trt_export(
    net_id="network_def", filepath=root + "/models/model_trt.ts", ckpt_file=root + "/models/model.pt",
    meta_file=root + "/configs/metadata.json", config_file=config, precision="fp32", input_shape=[1, 2, 48, 40],
    dynamic_batchsize=[1, 8, 16], use_onnx=True, use_trace=True,
)
common = dict(image=image, reference=reference, low_res="zero_filled", factor=4, quality_page=False)
run("inference", config_file=config, output_dir="eager", mixed_precision=False, **common)
run("inference", config_file=[config, root + "/configs/inference_trt.yaml"], output_dir="engine", **common)
"""


@pytest.mark.long
def test_inference_by_an_engine_equals_that_by_the_weights(zoo, script, small_dataset, tmp_path) -> None:
    """TorchScript stands in for the engine, and nothing for MONAI's command but its conversion."""
    anatomy = small_dataset / "sub-A" / "anat"
    pair = (anatomy / "sub-A_T2w.nii.gz", anatomy / "sub-A_PDw.nii.gz")
    try:
        script(ENGINE, zoo / NAME, *pair, cwd=tmp_path)
    finally:
        (zoo / NAME / "models" / "model_trt.ts").unlink(missing_ok=True)
    eager, engine = (nib.load(tmp_path / name / "sub-A_sr.nii.gz").get_fdata() for name in ("eager", "engine"))
    np.testing.assert_allclose(engine, eager, rtol=0, atol=1e-5 * eager.max())
    assert eager.max() > 0
