"""A detector as a tiny ONNX file with known answers: it sees in which of 8 x 8 cells of its input a colour is.

Red is a person, blue a car: a cell's probability is how much more red (blue) than green it holds. The box is the cell.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CELLS, SIDE_PX = 8, 64
LABELS = ("", "person", "car")


def cells() -> np.ndarray:
    """(64, 4): the cells as y1, x1, y2, x2 in 0..1, which is how anchors are written."""
    rows, columns = np.divmod(np.arange(CELLS * CELLS), CELLS)
    return np.stack([rows, columns, rows + 1, columns + 1], axis=1) / CELLS


def write(
    folder: Path,
    *,
    batch: int | str = "batch",
    is_channels_last: bool = True,
    has_anchors: bool = True,
    is_logits: bool = False,
) -> tuple[Path, Path | None]:
    """The paths of the model (which takes pixels in 0..1) and of its anchors."""
    cell_px = SIDE_PX // CELLS
    colour = np.zeros((3, 3, cell_px, cell_px), np.float32)
    colour[1, 0], colour[1, 1] = 1, -1  # person: red less green
    colour[2, 2], colour[2, 1] = 1, -1  # car: blue less green
    corners = np.zeros((1, CELLS * CELLS, 4)) if has_anchors else cells()[None][..., [1, 0, 3, 2]]
    constants = {
        "colour": colour / cell_px**2,
        "nothing": np.zeros((4, 3, cell_px, cell_px), np.float32),
        "corners": corners.astype(np.float32),
        "scores_shape": np.array([0, CELLS * CELLS, 3]),
        "boxes_shape": np.array([0, CELLS * CELLS, 4]),
        "low": np.array(-5.0 if is_logits else 0.0, np.float32),
        "shift": np.array(-3.0 if is_logits else 0.0, np.float32),
        "high": np.array(1.0, np.float32),
    }
    picture = "picture"
    nodes = []
    if is_channels_last:
        nodes.append(helper.make_node("Transpose", ["picture"], ["planes"], perm=[0, 3, 1, 2]))
        picture = "planes"
    for name, weights in (("scores", "colour"), ("boxes", "nothing")):
        nodes += [
            helper.make_node("Conv", [picture, weights], [f"{name}_map"], strides=[cell_px, cell_px]),
            helper.make_node("Transpose", [f"{name}_map"], [f"{name}_last"], perm=[0, 2, 3, 1]),
            helper.make_node("Reshape", [f"{name}_last", f"{name}_shape"], [f"{name}_flat"]),
        ]
    nodes += [
        helper.make_node("Add", ["scores_flat", "shift"], ["scores_raw"]),
        helper.make_node("Clip", ["scores_raw", "low", "high"], ["scores"]),
        helper.make_node("Add", ["boxes_flat", "corners"], ["boxes"]),
    ]
    shape = [batch, SIDE_PX, SIDE_PX, 3] if is_channels_last else [batch, 3, SIDE_PX, SIDE_PX]
    graph = helper.make_graph(
        nodes,
        "cells",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("boxes", "scores")],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path, anchors = folder / "cells.onnx", folder / "cells.npy"
    onnx.save(model, path)
    if has_anchors:
        np.save(anchors, cells())
    return path, anchors if has_anchors else None


def write_labels(folder: Path, labels: tuple[str, ...] = LABELS) -> Path:
    path = folder / "labels.txt"
    path.write_text("\n".join(labels) + "\n")
    return path
