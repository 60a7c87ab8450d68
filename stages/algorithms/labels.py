"""What a detector's classes are called: a word for each column of its scores."""

from pathlib import Path

# COCO's own category ids, 0 the background; ids that the data set left out are empty.
COCO91 = (
    "", "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow",
    "elephant", "bear", "zebra", "giraffe", "", "backpack", "umbrella", "", "", "handbag", "tie", "suitcase",
    "frisbee", "skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard",
    "tennis racket", "bottle", "", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple",
    "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant",
    "bed", "", "dining table", "", "", "toilet", "", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone",
    "microwave", "oven", "toaster", "sink", "refrigerator", "", "book", "clock", "vase", "scissors", "teddy bear",
    "hair drier", "toothbrush",
)  # fmt: skip


def read_labels(name: str) -> tuple[str, ...]:
    """The words of "coco91", or of a text file: line k (from 0) names column k, an empty line none.

    Lines with the same word make one label of several classes. Raises ValueError where there is no such file.
    """
    if name == "coco91":
        return COCO91
    path = Path(name)
    if not path.is_file():
        raise ValueError(f'labels: no file {name!r}; give a text file with a label a line, or "coco91"')
    try:
        words = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    except UnicodeDecodeError as error:
        raise ValueError(f"labels: {name} is no UTF-8 text: {error}") from error
    if not any(words):
        raise ValueError(f"labels: {name} names no class: write a label a line, in the order of the score columns")
    return words
