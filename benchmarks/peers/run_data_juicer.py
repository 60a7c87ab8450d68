"""Data-Juicer's operators over films: `PYTHON run_data_juicer.py start|scenes|motion FOLDER FILM...`, its own PYTHON.

start: imports only. scenes: video_split_by_scene_mapper, which detects and cuts files into FOLDER. motion:
video_motion_score_filter (Farneback, two frames a second, full size), keeping everything. Both as they come, through
its own data set, in one process. The last line printed is JSON: its release, or by film how many scenes or the score.
Beside py-data-juicer it needs aiohttp, librosa, soundfile, av, opencv-python-headless, scenedetect, ffmpeg-python, ray.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path


def main() -> None:
    from data_juicer.core.data import NestedDataset
    from data_juicer.ops.filter import VideoMotionScoreFilter
    from data_juicer.ops.mapper import VideoSplitBySceneMapper

    kind, folder, *films = sys.argv[1:]
    if kind == "start":
        sys.stdout.write(json.dumps({"py-data-juicer": version("py-data-juicer")}) + "\n")
        return
    samples = [{"text": "", "videos": [film]} for film in films]
    if kind == "scenes":
        operator = VideoSplitBySceneMapper(detector="AdaptiveDetector", threshold=3.0, save_dir=folder, num_proc=1)
    elif kind == "motion":
        operator = VideoMotionScoreFilter(min_score=0.0, num_proc=1)
    else:
        raise SystemExit(f"{kind!r} is none of start, scenes, motion")
    done = NestedDataset.from_list(samples).process([operator])
    if kind == "scenes":
        found = {Path(film).name: len(sample["videos"]) for film, sample in zip(films, done, strict=True)}
    else:
        found = {
            Path(film).name: sample["__dj__stats__"]["video_motion_score"][0]
            for film, sample in zip(films, done, strict=True)
        }
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
