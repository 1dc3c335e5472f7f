"""An encoder in OpenVINO, which reads what was exported for ONNX Runtime."""

from pathlib import Path
from typing import Any

import numpy as np

from pyserini_jpq.encode.onnx_model import OnnxBackend, module_of
from pyserini_jpq.quantizer import Floats


class OpenVinoBackend(OnnxBackend):
    """Encodes by OpenVINO in float32; parameters and errors as of `OnnxBackend`."""

    def _session_of(self, path: Path) -> Any:
        core = module_of("openvino", "openvino").Core()
        # Without the hint for precision, bfloat16 is taken where there is AMX. Streams are its own threads.
        how = {"INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": self._calls}
        how["INFERENCE_NUM_THREADS"] = self._calls * self._threads
        return core.compile_model(core.read_model(str(path)), "CPU", how)

    def _run(self, inputs: dict[str, np.ndarray]) -> Floats:
        # A request of its own for each call: several threads may call at once.
        found = self._session.create_infer_request().infer(inputs)
        return np.array(found[0], dtype=np.float32)
